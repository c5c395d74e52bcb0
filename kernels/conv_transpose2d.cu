// Transposed convolution 2x2 with stride 2, and its gradients. Formulae: src/ops/conv_transpose2d.rs.
#include "implicit_gemm.cuh"
#include "weight_grad.cuh"

#define CONVOLUTION(name, T, kernel, stride, weights, scatter)                           \
    KERNEL(name, 128, ConvolutionParameters) {                                           \
        using Gemm = ImplicitGemm<T, kernel, stride, Weights::weights, scatter>;         \
        static_assert(Gemm::THREADS == 128);                                             \
        SHARED(typename Gemm::Shared, shared);                                           \
        Gemm(p, shared).run();                                                           \
    }

// Forward: a 1x1 convolution for each tap, whose pixels lie two apart in the output.
CONVOLUTION(conv_transpose2d_f32, float, 1, 1, FORWARD, true)
CONVOLUTION(conv_transpose2d_f16, f16, 1, 1, FORWARD, true)
// The gradient of the data: a 2x2 convolution with stride 2.
CONVOLUTION(conv_transpose2d_data_grad_f32, float, 2, 2, TRANSPOSED, false)
CONVOLUTION(conv_transpose2d_data_grad_f16, f16, 2, 2, TRANSPOSED, false)

#define WEIGHT_GRAD(name, T)                                \
    KERNEL(name, 128, WeightGradParameters) {               \
        using Grad = WeightGrad<T, 1, true>;                \
        static_assert(Grad::THREADS == 128);                \
        SHARED(typename Grad::Shared, shared);              \
        Grad(p, shared).run();                              \
    }

WEIGHT_GRAD(conv_transpose2d_weight_grad_f32, float)
WEIGHT_GRAD(conv_transpose2d_weight_grad_f16, f16)
