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
        for (int64_t i = first; i < count; ++i) element(i);
    }
}
