// Convolutions between an image of one channel and one of many: the first layer, the 1x1 at the end, and their gradients. Few operations for the
// bytes that they move, so they are done by plain arithmetic at the speed of memory. The image of many channels has whole vectors of them.
#pragma once

#include "copy.cuh"

/// Twin: `NarrowParameters` in src/backend/cuda/narrow.rs.
struct NarrowParameters {
    /// [n][height][width], one channel; what `Dot` writes, or else read.
    void* single;
    /// [n][height][width][channels]; what `Spread` writes, or else read.
    void* many;
    /// [taps][channels].
    const void* w;
    /// One number for `Dot`, one for each channel for `Spread`; may be null.
    const float* bias;
    /// [split][taps][channels].
    float* dw;
    int32_t n, height, width, channels;
    int32_t splits;
    int32_t padding;
};
static_assert(sizeof(NarrowParameters) == 64);

constexpr int NARROW_THREADS = 256;

/// The pixels of the image of one channel that the taps of pixel (y, x) read; zeros beyond the border.
template <typename T, int TAPS>
__device__ __forceinline__ void load_neighbours(const NarrowParameters& p, const T* image, int y, int x, float (&s)[TAPS]) {
    constexpr int KERNEL = TAPS == 9 ? 3 : 1, PAD = KERNEL / 2;
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) {
        const int row = y + tap / KERNEL - PAD, column = x + tap % KERNEL - PAD;
        const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
        s[tap] = inside ? to_float(image[int64_t{row} * p.width + column]) : 0.0f;
    }
}

/// many[pixel][c] = bias[c] + sum over taps of single[pixel + tap] w[tap][c]. A thread has a vector of channels and some pixels of a row, for which it
/// keeps the weights.
template <typename T, int TAPS>
struct Spread {
    // Twin: `STRIP` in src/backend/cuda/narrow.rs.
    static constexpr int PIXELS = 8;

    static __device__ __forceinline__ void run(const NarrowParameters& p) {
        const int vectors = p.channels / VECTOR<T>, strips = ceil_div(p.width, PIXELS);
        const int64_t item = int64_t{blockIdx.x} * NARROW_THREADS + thread_in_block();
        const int64_t strip = item / vectors, row = strip / strips;
        if (row >= int64_t{p.n} * p.height) return;
        const int channel = static_cast<int>(item % vectors) * VECTOR<T>, n = static_cast<int>(row / p.height), y = static_cast<int>(row % p.height);
        float w[TAPS][VECTOR<T>], bias[VECTOR<T>];
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap) {
            const auto loaded = load_vector<VECTOR<T>>(static_cast<const T*>(p.w) + tap * p.channels + channel);
#pragma unroll
            for (int e = 0; e < VECTOR<T>; ++e) w[tap][e] = to_float(loaded.v[e]);
        }
#pragma unroll
        for (int e = 0; e < VECTOR<T>; ++e) bias[e] = p.bias ? p.bias[channel + e] : 0.0f;
        const T* image = static_cast<const T*>(p.single) + int64_t{n} * p.height * p.width;
        const int first = static_cast<int>(strip % strips) * PIXELS, end = first + PIXELS < p.width ? first + PIXELS : p.width;
        for (int x = first; x < end; ++x) {
            float s[TAPS], sum[VECTOR<T>];
            load_neighbours<T, TAPS>(p, image, y, x, s);
            Vector<T> out;
#pragma unroll
            for (int e = 0; e < VECTOR<T>; ++e) {
                sum[e] = bias[e];
#pragma unroll
                for (int tap = 0; tap < TAPS; ++tap) sum[e] = fmaf(s[tap], w[tap][e], sum[e]);
                out.v[e] = from_float<T>(sum[e]);
            }
            store_16_bytes(static_cast<T*>(p.many) + (row * p.width + x) * p.channels + channel, out);
        }
    }
};

/// single[pixel] = bias + sum over channels of many[pixel][c] w[c]. Eight lanes share a pixel.
template <typename T>
struct Dot {
    // Twin: `LANES` in src/backend/cuda/narrow.rs.
    static constexpr int LANES = 8;

    static __device__ __forceinline__ void run(const NarrowParameters& p) {
        const int lane = thread_in_block() % LANES;
        const int64_t pixel = (int64_t{blockIdx.x} * NARROW_THREADS + thread_in_block()) / LANES, pixels = int64_t{p.n} * p.height * p.width;
        float sum = 0.0f;
        if (pixel < pixels) {
            for (int channel = lane * VECTOR<T>; channel < p.channels; channel += LANES * VECTOR<T>) {
                const auto x = load_vector<VECTOR<T>>(static_cast<const T*>(p.many) + pixel * p.channels + channel);
                const auto w = load_vector<VECTOR<T>>(static_cast<const T*>(p.w) + channel);
#pragma unroll
                for (int e = 0; e < VECTOR<T>; ++e) sum = fmaf(to_float(x.v[e]), to_float(w.v[e]), sum);
            }
        }
#pragma unroll
        for (int distance = LANES / 2; distance > 0; distance /= 2) sum += shuffle(sum, lane_in_warp() ^ distance);
        if (lane == 0 && pixel < pixels) static_cast<T*>(p.single)[pixel] = from_float<T>(sum + (p.bias ? *p.bias : 0.0f));
    }
};

/// dw[tap][c] = sum over pixels of single[pixel + tap] many[pixel][c]. A block has eight vectors of channels and a range of rows; eight lanes side by
/// side have the vectors of a pixel.
template <typename T, int TAPS>
struct NarrowWeightGrad {
    // Twin: `VECTORS` in src/backend/cuda/narrow.rs.
    static constexpr int VECTORS = 8, COLUMNS = NARROW_THREADS / VECTORS, WARPS = NARROW_THREADS / WARP_LANES;
    static constexpr int SUMS = TAPS * VECTOR<T>;

    struct Shared {
        float sums[WARPS][VECTORS][SUMS];
    };

    static __device__ __forceinline__ void run(const NarrowParameters& p, Shared& shared) {
        const int vector = thread_in_block() % VECTORS, channel = (static_cast<int>(blockIdx.x) * VECTORS + vector) * VECTOR<T>;
        const int split = static_cast<int>(blockIdx.y);
        const int64_t rows = int64_t{p.n} * p.height;
        float sums[TAPS][VECTOR<T>] = {};
        if (channel < p.channels) {
            for (int64_t row = rows * split / p.splits; row < rows * (split + 1) / p.splits; ++row) {
                const int n = static_cast<int>(row / p.height), y = static_cast<int>(row % p.height);
                const T* image = static_cast<const T*>(p.single) + int64_t{n} * p.height * p.width;
#pragma unroll 2
                for (int x = thread_in_block() / VECTORS; x < p.width; x += COLUMNS) {
                    const auto many = load_vector<VECTOR<T>>(static_cast<const T*>(p.many) + (row * p.width + x) * p.channels + channel);
                    float s[TAPS];
                    load_neighbours<T, TAPS>(p, image, y, x, s);
#pragma unroll
                    for (int tap = 0; tap < TAPS; ++tap)
#pragma unroll
                        for (int e = 0; e < VECTOR<T>; ++e) sums[tap][e] = fmaf(s[tap], to_float(many.v[e]), sums[tap][e]);
                }
            }
        }
        // The pixels of a warp, then the warps of the block.
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap)
#pragma unroll
            for (int e = 0; e < VECTOR<T>; ++e) {
                float sum = sums[tap][e];
                sum += shuffle(sum, lane_in_warp() ^ VECTORS);
                sum += shuffle(sum, lane_in_warp() ^ 2 * VECTORS);
                if (lane_in_warp() < VECTORS) shared.sums[warp_in_block()][vector][tap * VECTOR<T> + e] = sum;
            }
        __syncthreads();
        for (int item = thread_in_block(); item < VECTORS * SUMS; item += NARROW_THREADS) {
            const int of = item / SUMS, tap = item % SUMS / VECTOR<T>;
            const int at = (static_cast<int>(blockIdx.x) * VECTORS + of) * VECTOR<T> + item % VECTOR<T>;
            if (at >= p.channels) continue;
            float sum = 0.0f;
            for (int warp = 0; warp < WARPS; ++warp) sum += shared.sums[warp][of][item % SUMS];
            p.dw[(int64_t{split} * TAPS + tap) * p.channels + at] = sum;
        }
    }
};
