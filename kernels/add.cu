// y = a + b. Formulae: src/ops/add.rs.
#include "elementwise.cuh"

struct AddParameters {
    const void* a;
    const void* b;
    void* y;
    int64_t count;
};
static_assert(sizeof(AddParameters) == 32);

template <typename T>
__device__ __forceinline__ void add(const AddParameters& p) {
    zip_elements<T>(p.count, p.a, p.b, p.y, [](float a, float b) { return a + b; });
}

KERNEL(add_f32, ELEMENTWISE_THREADS, AddParameters) { add<float>(p); }
KERNEL(add_f16, ELEMENTWISE_THREADS, AddParameters) { add<f16>(p); }
