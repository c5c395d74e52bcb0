// Whether a gradient is finite. Formulae: src/ops/check_finite.rs.
//
// A long gradient is checked chunk by chunk; a chunk's answer is itself a number that is finite or not, so that the answers can be
// checked like a gradient.
#include "platform.cuh"

constexpr int CHECK_THREADS = 256;
constexpr int64_t CHECK_CHUNK = 16384;

struct CheckFiniteParameters {
    const float* g;
    /// `overflow`, or an answer for each chunk.
    float* out;
    int64_t count;
};
static_assert(sizeof(CheckFiniteParameters) == 24);

struct CheckFiniteShared {
    float broken[CHECK_THREADS / WARP_LANES];
};

__device__ __forceinline__ bool is_broken(float x) { return !(fabsf(x) < INFINITY); }

/// Whether a number of g[first, end) is not finite, for all threads of the block. `first` is a multiple of 4.
__device__ __forceinline__ bool is_any_broken(const float* g, int64_t first, int64_t end, CheckFiniteShared& shared) {
    bool broken = false;
#pragma unroll 4
    for (int64_t i = first + 4 * thread_in_block(); i < end; i += 4 * CHECK_THREADS) {
        if (i + 4 <= end) {
            const auto x = load_vector<4>(g + i);
#pragma unroll
            for (int k = 0; k < 4; ++k) broken |= is_broken(x.v[k]);
        } else {
            for (int64_t k = i; k < end; ++k) broken |= is_broken(g[k]);
        }
    }
    const float in_warp = warp_sum(broken ? 1.0f : 0.0f);
    if (lane_in_warp() == 0) shared.broken[warp_in_block()] = in_warp;
    __syncthreads();
    float in_block = 0.0f;
    for (float in_warp : shared.broken) in_block += in_warp;
    return in_block > 0.0f;
}

/// Grid: one block for each chunk.
KERNEL(check_finite_chunks, CHECK_THREADS, CheckFiniteParameters) {
    SHARED(CheckFiniteShared, shared);
    const int64_t first = blockIdx.x * CHECK_CHUNK, end = first + CHECK_CHUNK < p.count ? first + CHECK_CHUNK : p.count;
    const bool broken = is_any_broken(p.g, first, end, shared);
    if (thread_in_block() == 0) p.out[blockIdx.x] = broken ? INFINITY : 0.0f;
}

/// Grid: one block. What raised the flag before stays.
KERNEL(check_finite, CHECK_THREADS, CheckFiniteParameters) {
    SHARED(CheckFiniteShared, shared);
    const bool broken = is_any_broken(p.g, 0, p.count, shared);
    if (thread_in_block() == 0 && broken) *p.out = 1.0f;
}
