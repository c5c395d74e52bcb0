// Arithmetic of which every operation is rounded by itself, as on the CPU. nvcc otherwise makes one fused operation of a product and a sum,
// whose bits differ.
#pragma once

#include "platform.cuh"

__device__ __forceinline__ float sum_of(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float difference_of(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ float product_of(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float quotient_of(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ double sum_of(double a, double b) { return __dadd_rn(a, b); }
__device__ __forceinline__ double product_of(double a, double b) { return __dmul_rn(a, b); }

/// A number that is computed with as written.
template <typename T>
struct Exact {
    T value;

    __device__ __forceinline__ Exact(T x) : value(x) {}

    friend __device__ __forceinline__ Exact operator+(Exact a, Exact b) { return sum_of(a.value, b.value); }
    friend __device__ __forceinline__ Exact operator-(Exact a, Exact b) { return difference_of(a.value, b.value); }
    friend __device__ __forceinline__ Exact operator*(Exact a, Exact b) { return product_of(a.value, b.value); }
    friend __device__ __forceinline__ Exact operator/(Exact a, Exact b) { return quotient_of(a.value, b.value); }
};
