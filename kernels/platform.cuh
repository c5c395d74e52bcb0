// The dialect in which the kernels are written: CUDA where nvcc compiles them, and the same words from tools/emulator/emulator.h where
// the host's compiler does. A kernel takes one struct of parameters `p` by value; its twin is in src/backend/cuda/<operation>.rs, and
// both sides assert its size. Its shared memory is one struct (SHARED, or LARGE_SHARED beyond 48 KiB); its blocks are one-dimensional and have whole warps.
#pragma once

#if defined(__CUDACC__)

#include <cuda_fp16.h>

#include <cstdint>

using f16 = __half;

#define KERNEL(name, threads, Parameters) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Parameters p)
/// One block of it fills a multiprocessor, and its warps may share out the registers anew.
#define LONE_KERNEL(name, threads, Parameters) \
    extern "C" __global__ void __launch_bounds__(threads, 1) name(const __grid_constant__ Parameters p)
#define SHARED(Type, name) __shared__ Type name
/// More than 48 KiB, from a multiple of 1,024 bytes on: `Launch::shared_bytes` has to say how much.
#define LARGE_SHARED(Type, name)                                       \
    extern __shared__ __align__(1024) unsigned char name##_bytes[];     \
    Type& name = *reinterpret_cast<Type*>(name##_bytes)

#if defined(__CUDA_ARCH__)
#define ARCHITECTURE __CUDA_ARCH__
#else
#define ARCHITECTURE 800  // The host's pass over the source, of which nothing is kept.
#endif

#else

#include "emulator.h"

#define ARCHITECTURE EMULATED_ARCH

#endif

/// wgmma is Hopper's alone.
#define HAS_WARPGROUPS (ARCHITECTURE >= 900 && ARCHITECTURE < 1000)

constexpr int WARP_LANES = 32;

/// A number as a type, for what is called with it.
template <int VALUE>
struct Constant {
    static constexpr int value = VALUE;
};

/// Elements of 16 bytes, the widest load.
template <typename T>
constexpr int VECTOR = 16 / sizeof(T);

__device__ inline float to_float(float x) { return x; }

/// To the storage type; to f16 it rounds to nearest even, to infinity beyond 65,504.
template <typename T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
    return x;
}

#if defined(__CUDACC__)
__device__ inline float to_float(f16 x) { return __half2float(x); }
template <>
__device__ inline f16 from_float<f16>(float x) {
    return __float2half_rn(x);
}
#else
__device__ inline float to_float(f16 x) { return static_cast<float>(x); }
template <>
__device__ inline f16 from_float<f16>(float x) {
    return static_cast<f16>(x);
}
#endif

__device__ __forceinline__ int thread_in_block() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int lane_in_warp() { return thread_in_block() % WARP_LANES; }
__device__ __forceinline__ int warp_in_block() { return thread_in_block() / WARP_LANES; }

template <typename A, typename B>
__device__ __forceinline__ constexpr A ceil_div(A a, B b) {
    return (a + b - 1) / b;
}

/// `N` elements side by side, at most 16 bytes, that move in one instruction.
template <typename T, int N = VECTOR<T>>
struct alignas(sizeof(T) * N) Vector {
    T v[N];
};

#if defined(__CUDACC__)
template <int BYTES>
struct Word;
template <>
struct Word<16> {
    using Type = uint4;
};
template <>
struct Word<8> {
    using Type = uint2;
};
template <>
struct Word<4> {
    using Type = uint32_t;
};
template <>
struct Word<2> {
    using Type = uint16_t;
};
template <>
struct Word<1> {
    using Type = uint8_t;
};

// Through one word: a struct of halves would be moved half by half.
template <int N, typename T>
__device__ __forceinline__ Vector<T, N> load_vector(const T* from) {
    using W = typename Word<N * sizeof(T)>::Type;
    union {
        W word;
        unsigned char bytes[sizeof(W)];
    } moved;
    moved.word = *reinterpret_cast<const W*>(from);
    Vector<T, N> out;
    __builtin_memcpy(&out, &moved.word, sizeof(W));
    return out;
}

template <int N, typename T>
__device__ __forceinline__ void store_vector(T* to, const Vector<T, N>& vector) {
    using W = typename Word<N * sizeof(T)>::Type;
    W word;
    __builtin_memcpy(&word, &vector, sizeof(W));
    *reinterpret_cast<W*>(to) = word;
}

/// The value of lane `source`, for all lanes of a warp. Orders no memory.
__device__ __forceinline__ float shuffle(float x, int source) { return __shfl_sync(0xFFFFFFFFu, x, source); }
__device__ __forceinline__ double shuffle(double x, int source) { return __shfl_sync(0xFFFFFFFFu, x, source); }
#else
template <int N, typename T>
inline Vector<T, N> load_vector(const T* from) {
    Vector<T, N> out;
    emulator::load(&out, from, sizeof out);
    return out;
}

template <int N, typename T>
inline void store_vector(T* to, const Vector<T, N>& vector) {
    emulator::store(to, &vector, sizeof vector);
}

inline float shuffle(float x, int source) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = emulator::shuffle(bits, source);
    memcpy(&x, &bits, 4);
    return x;
}
inline double shuffle(double x, int source) {
    uint32_t bits[2];
    memcpy(bits, &x, 8);
    for (uint32_t& half : bits) half = emulator::shuffle(half, source);
    memcpy(&x, bits, 8);
    return x;
}
#endif

/// The sum over a warp, the same in all lanes: a butterfly, so its order is fixed.
template <typename T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
    for (int distance = WARP_LANES / 2; distance > 0; distance /= 2) x += shuffle(x, lane_in_warp() ^ distance);
    return x;
}
