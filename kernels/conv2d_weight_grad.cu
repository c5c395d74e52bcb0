// The gradient of a convolution's weights. Formulae: src/ops/conv2d.rs.
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
