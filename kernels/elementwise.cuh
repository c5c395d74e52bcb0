// The loop of operations that compute each element by itself: sixteen bytes a thread, the last few elements one by one.
#pragma once

#include "platform.cuh"

constexpr int ELEMENTWISE_THREADS = 256;

/// Calls `vector(first)` for this thread's whole vector of elements `first` to `first + VECTOR<T> - 1`, or `element(i)` for each element
/// of the one that the end cuts short. Arrays start at multiples of 64 bytes. Grid: one thread for each vector, rounded up.
template <typename T, typename OnVector, typename OnElement>
__device__ __forceinline__ void for_each_element(int64_t count, OnVector vector, OnElement element) {
    const int64_t first = (int64_t{blockIdx.x} * ELEMENTWISE_THREADS + thread_in_block()) * VECTOR<T>;
    if (first + VECTOR<T> <= count) {
        vector(first);
    } else {
#pragma unroll 1
        for (int64_t i = first; i < count; ++i) element(i);
    }
}

/// y = f(x), element by element; `f` computes in f32.
template <typename T, typename F>
__device__ __forceinline__ void map_elements(int64_t count, const void* from, void* to, F f) {
    const T* x = static_cast<const T*>(from);
    T* y = static_cast<T*>(to);
    for_each_element<T>(
        count,
        [&](int64_t i) {
            auto out = load_vector<VECTOR<T>>(x + i);
#pragma unroll
            for (int k = 0; k < VECTOR<T>; ++k) out.v[k] = from_float<T>(f(to_float(out.v[k])));
            store_vector<VECTOR<T>>(y + i, out);
        },
        [&](int64_t i) { y[i] = from_float<T>(f(to_float(x[i]))); });
}

/// y = f(a, b), element by element; `f` computes in f32.
template <typename T, typename F>
__device__ __forceinline__ void zip_elements(int64_t count, const void* left, const void* right, void* to, F f) {
    const T* a = static_cast<const T*>(left);
    const T* b = static_cast<const T*>(right);
    T* y = static_cast<T*>(to);
    for_each_element<T>(
        count,
        [&](int64_t i) {
            const auto va = load_vector<VECTOR<T>>(a + i), vb = load_vector<VECTOR<T>>(b + i);
            Vector<T> out;
#pragma unroll
            for (int k = 0; k < VECTOR<T>; ++k) out.v[k] = from_float<T>(f(to_float(va.v[k]), to_float(vb.v[k])));
            store_vector<VECTOR<T>>(y + i, out);
        },
        [&](int64_t i) { y[i] = from_float<T>(f(to_float(a[i]), to_float(b[i]))); });
}
