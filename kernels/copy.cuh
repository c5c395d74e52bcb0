// Copies from global to shared memory that go on while the block computes (cp.async, from Ampere on). Elsewhere they are plain copies: the
// same program, without the overlap.
#pragma once

#include "matrix.cuh"

/// Copies 16 bytes, or writes zeros if not `valid`: `from` is not read then, and may be anywhere. Both addresses are multiples of 16.
__device__ __forceinline__ void copy_16_bytes(void* to, const void* from, bool valid) {
#if ARCHITECTURE < 800
    Vector<uint32_t, 4> words = {};
    if (valid) words = load_vector<4>(static_cast<const uint32_t*>(from));
    store_vector<4>(static_cast<uint32_t*>(to), words);
#elif defined(__CUDACC__)
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
#else
    emulator::copy_async(to, from, 16, valid ? 16 : 0);
#endif
}

/// Copies sixteen bytes of a line of which `valid` elements are left from here on; zeros stand for what is not. `ALIGNED`: lines start at
/// multiples of 16 bytes and have whole vectors. Where none is left `from` may be anywhere.
template <bool ALIGNED, typename T>
__device__ __forceinline__ void copy_vector(T* to, const T* from, int valid) {
    if constexpr (ALIGNED) {
        copy_16_bytes(to, from, valid > 0);
    } else {
        Vector<T> v;
#pragma unroll
        for (int e = 0; e < VECTOR<T>; ++e) v.v[e] = e < valid ? from[e] : from_float<T>(0.0f);
        store_vector<VECTOR<T>>(to, v);
    }
}

/// Stores sixteen bytes to global memory, for sure in one instruction.
template <typename T>
__device__ __forceinline__ void store_16_bytes(T* to, const Vector<T>& vector) {
#if defined(__CUDACC__)
    uint4 word;
    __builtin_memcpy(&word, &vector, sizeof word);
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(word.x), "r"(word.y), "r"(word.z), "r"(word.w)
                 : "memory");
#else
    store_vector<VECTOR<T>>(to, vector);
#endif
}

/// Ends a group of copies.
__device__ __forceinline__ void commit_copies() {
#if ARCHITECTURE < 800
#elif defined(__CUDACC__)
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    emulator::commit_copies();
#endif
}

/// Waits until all but the latest `PENDING` groups of this thread have arrived. Others see them after a barrier.
template <int PENDING>
__device__ __forceinline__ void wait_copies() {
#if ARCHITECTURE < 800
#elif defined(__CUDACC__)
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#else
    emulator::wait_copies(PENDING);
#endif
}
