// What the kernels of batch normalisation share.
#pragma once

#include "columns.cuh"

/// 1 / sqrt(var + eps) of V neighbouring channels.
template <int V>
__device__ __forceinline__ Floats<V> inverse_deviation(const float* var, float eps) {
    Floats<V> out = load_floats<V>(var);
#pragma unroll
    for (int v = 0; v < V; ++v) out.v[v] = 1.0f / sqrtf(out.v[v] + eps);
    return out;
}

/// gamma xhat + beta from x - mean, scale = gamma / sqrt(var + eps) and beta; rounded once, so that gradients see the very number that
/// ReLU saw.
__device__ __forceinline__ float normalised(float centred, float scale, float beta) { return fmaf(centred, scale, beta); }
