// The gradient of a convolution's weights. Formulae: src/ops/conv2d.rs.
#include "narrow.cuh"
#include "warpgroup_weight_grad.cuh"
#include "weight_grad.cuh"

#define WEIGHT_GRAD(name, T, kernel, threads)               \
    KERNEL(name, threads, WeightGradParameters) {           \
        using Grad = WeightGrad<T, kernel, false>;          \
        static_assert(Grad::THREADS == threads);            \
        SHARED(typename Grad::Shared, shared);              \
        Grad(p, shared).run();                              \
    }

WEIGHT_GRAD(conv2d_weight_grad_3x3_f32, float, 3, 288)
WEIGHT_GRAD(conv2d_weight_grad_3x3_f16, f16, 3, 288)
WEIGHT_GRAD(conv2d_weight_grad_1x1_f32, float, 1, 128)
WEIGHT_GRAD(conv2d_weight_grad_1x1_f16, f16, 1, 128)

// Between one channel and many.
#define NARROW_WEIGHT_GRAD(name, T, taps)                \
    KERNEL(name, NARROW_THREADS, NarrowParameters) {     \
        using Grad = NarrowWeightGrad<T, taps>;          \
        SHARED(typename Grad::Shared, shared);           \
        Grad::run(p, shared);                            \
    }

NARROW_WEIGHT_GRAD(conv2d_weight_grad_3x3_narrow_f32, float, 9)
NARROW_WEIGHT_GRAD(conv2d_weight_grad_3x3_narrow_f16, f16, 9)
NARROW_WEIGHT_GRAD(conv2d_weight_grad_1x1_narrow_f32, float, 1)
NARROW_WEIGHT_GRAD(conv2d_weight_grad_1x1_narrow_f16, f16, 1)

#if HAS_WARPGROUPS

// Where all channels are multiples of eight.
LONE_KERNEL(conv2d_weight_grad_3x3_warpgroup_f16, 512, WeightGradParameters) {
    static_assert(WarpgroupWeightGrad::THREADS == 512);
    static_assert(sizeof(WarpgroupWeightGrad::Shared) == 153600);
    LARGE_SHARED(WarpgroupWeightGrad::Shared, shared);
    WarpgroupWeightGrad(p, shared).run();
}

#endif
