// The logistic function and its relatives, without overflow.
#pragma once

#include "platform.cuh"

/// 1 / (1 + exp(-x)).
__device__ __forceinline__ float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    const float p = 1.0f / (1.0f + e);
    return x >= 0.0f ? p : e * p;
}

/// What the cross-entropy of a logit z is made of, from one exponential.
struct Logistic {
    /// sigmoid(z), sigmoid(-z).
    float p, q;
    /// softplus(z) = ln(1 + exp(z)), softplus(-z).
    float softplus_z, softplus_minus_z;
};

__device__ __forceinline__ Logistic logistic(float z) {
    const float e = expf(-fabsf(z));
    const float large = 1.0f / (1.0f + e), small = e * large;
    const float rest = log1pf(e);
    const bool is_positive = z >= 0.0f;
    return {is_positive ? large : small, is_positive ? small : large, fmaxf(z, 0.0f) + rest, fmaxf(-z, 0.0f) + rest};
}
