// Convolution 3x3 and 1x1 over one image or two, and the gradient of its data. Formulae: src/ops/conv2d.rs.
#include "implicit_gemm.cuh"
#include "narrow.cuh"
#include "warpgroup_gemm.cuh"

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

// Between one channel and many.
#define SPREAD(name, T, taps) \
    KERNEL(name, NARROW_THREADS, NarrowParameters) { Spread<T, taps>::run(p); }

SPREAD(conv2d_3x3_spread_f32, float, 9)
SPREAD(conv2d_3x3_spread_f16, f16, 9)
SPREAD(conv2d_1x1_spread_f32, float, 1)
SPREAD(conv2d_1x1_spread_f16, f16, 1)

#define DOT(name, T) \
    KERNEL(name, NARROW_THREADS, NarrowParameters) { Dot<T>::run(p); }

DOT(conv2d_1x1_dot_f32, float)
DOT(conv2d_1x1_dot_f16, f16)

#if HAS_WARPGROUPS

// Where all channels are multiples of eight.
#define WARPGROUP_CONVOLUTION(name, weights)                   \
    LONE_KERNEL(name, 384, ConvolutionParameters) {            \
        using Gemm = WarpgroupGemm<Weights::weights>;          \
        static_assert(Gemm::THREADS == 384);                   \
        static_assert(sizeof(Gemm::Shared) == 190464);         \
        LARGE_SHARED(Gemm::Shared, shared);                    \
        Gemm(p, shared).run();                                 \
    }

WARPGROUP_CONVOLUTION(conv2d_3x3_warpgroup_f16, FORWARD)
WARPGROUP_CONVOLUTION(conv2d_data_grad_3x3_warpgroup_f16, TRANSPOSED)

#endif
