// y = max(x, 0) and its gradient. Formulae: src/ops/relu.rs.
#include "elementwise.cuh"

struct ReluParameters {
    const void* x;
    void* y;
    int64_t count;
};
static_assert(sizeof(ReluParameters) == 24);

struct ReluGradParameters {
    const void* dy;
    const void* y;
    void* dx;
    int64_t count;
};
static_assert(sizeof(ReluGradParameters) == 32);

template <typename T>
__device__ __forceinline__ void relu(const ReluParameters& p) {
    // Not fmaxf, which would make 0 of a NaN: training must not hide it.
    map_elements<T>(p.count, p.x, p.y, [](float x) { return x < 0.0f ? 0.0f : x; });
}

template <typename T>
__device__ __forceinline__ void relu_grad(const ReluGradParameters& p) {
    zip_elements<T>(p.count, p.dy, p.y, p.dx, [](float dy, float y) { return y > 0.0f ? dy : 0.0f; });
}

KERNEL(relu_f32, ELEMENTWISE_THREADS, ReluParameters) { relu<float>(p); }
KERNEL(relu_f16, ELEMENTWISE_THREADS, ReluParameters) { relu<f16>(p); }
KERNEL(relu_grad_f32, ELEMENTWISE_THREADS, ReluGradParameters) { relu_grad<float>(p); }
KERNEL(relu_grad_f16, ELEMENTWISE_THREADS, ReluGradParameters) { relu_grad<f16>(p); }
