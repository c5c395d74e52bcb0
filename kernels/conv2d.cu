// Convolution 3x3 and 1x1 over one image or two, and the gradient of its data. Formulae: src/ops/conv2d.rs.
#include "implicit_gemm.cuh"

#define CONVOLUTION(name, T, kernel, weights)                                            \
    KERNEL(name, 128, ConvolutionParameters) {                                           \
        using Gemm = ImplicitGemm<T, kernel, 1, Weights::weights, false>;                \
        static_assert(Gemm::THREADS == 128);                                             \
        SHARED(typename Gemm::Shared, shared);                                           \
        Gemm(p, shared).run();                                                           \
    }

CONVOLUTION(conv2d_3x3_f32, float, 3, FORWARD)
CONVOLUTION(conv2d_3x3_f16, f16, 3, FORWARD)
CONVOLUTION(conv2d_1x1_f32, float, 1, FORWARD)
CONVOLUTION(conv2d_1x1_f16, f16, 1, FORWARD)
CONVOLUTION(conv2d_data_grad_3x3_f32, float, 3, TRANSPOSED)
CONVOLUTION(conv2d_data_grad_3x3_f16, f16, 3, TRANSPOSED)
CONVOLUTION(conv2d_data_grad_1x1_f32, float, 1, TRANSPOSED)
CONVOLUTION(conv2d_data_grad_1x1_f16, f16, 1, TRANSPOSED)
