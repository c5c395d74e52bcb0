// Kernels with planted faults, on which the emulator itself is tested (tests/emulator). Each comes twice: as <name>_faulty, and mended as
// <name>_sound, in which nothing may be found.
#pragma once

#include "platform.cuh"

constexpr int THREADS = 64;

struct Parameters {
    const float* in;
    float* out;
    int64_t count;  // Elements of both.
};
static_assert(sizeof(Parameters) == 24);

#define FAULT(name)                                              \
    KERNEL(name##_faulty, THREADS, Parameters) { name<false>(p); } \
    KERNEL(name##_sound, THREADS, Parameters) { name<true>(p); }

__device__ __forceinline__ int64_t element() { return int64_t{blockIdx.x} * THREADS + thread_in_block(); }
