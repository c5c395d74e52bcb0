// Gradients of convolutions' weights as products of matrices whose depth runs over pixels: dw[tap][ci][co] = sum over pixels of
// x[pixel + tap][ci] dy[pixel][co].
//
// A block computes some input channels by 32 output channels over a range of tiles of pixels. For a 3x3 neighbourhood it has nine
// warps, one a tap: all of them read the same tiles of x (with a border) and dy. For one tap it has four warps that share the depth. Few blocks
// would cover the weights, so the tiles are split among many, and `sum_partials` adds what they found, in order.
//
// The transposed convolution has four taps of its own, each a product over the pixels of its input: the tap comes from the block's number,
// and dy is read at 2 pixel + tap.
#pragma once

#include "copy.cuh"

/// Twin: `WeightGradParameters` in src/backend/cuda/weight_grad.rs.
struct WeightGradParameters {
    /// Images [n][height][width][channels_x] whose channels follow one another.
    const void* x[2];
    const void* dy;
    /// [split][tap][channels of x][channels_dy].
    float* dw;
    int32_t n, height, width;
    int32_t channels_x[2], channels_dy;
    int32_t splits;
    int32_t padding;
};
static_assert(sizeof(WeightGradParameters) == 64);

template <typename T, int KERNEL, bool SCATTER>
struct WeightGrad {
    static constexpr bool HALO = KERNEL == 3;
    static constexpr int WARPS = HALO ? 9 : 4, THREADS = WARPS * WARP_LANES;
    static constexpr int TAPS = SCATTER ? 4 : KERNEL * KERNEL;
    // The block's weights, and a tile's pixels.
    static constexpr int CHANNELS_X = sizeof(T) == 2 ? 64 : 32, CHANNELS_DY = 32;
    static constexpr int ROWS = sizeof(T) == 2 ? 4 : 2, COLUMNS = 16;
    static constexpr int X_ROWS = ROWS + (HALO ? 2 : 0), X_COLUMNS = COLUMNS + (HALO ? 2 : 0);
    static constexpr int STAGES = 2;
    static constexpr int PAD = VECTOR<T>;
    static constexpr int X_STRIDE = CHANNELS_X + PAD, DY_STRIDE = CHANNELS_DY + PAD;
    static constexpr int SUM_STRIDE = CHANNELS_DY + 4;

    union alignas(16) Shared {
        struct {
            T x[STAGES][X_ROWS * X_COLUMNS * X_STRIDE];
            T dy[STAGES][ROWS * COLUMNS * DY_STRIDE];
        };
        float sums[HALO ? 1 : WARPS * CHANNELS_X * SUM_STRIDE];
    };

    using M = Matrix<T>;
    static constexpr int UNITS_X = CHANNELS_X / MATRIX, UNITS_DY = CHANNELS_DY / MATRIX;

    const WeightGradParameters& p;
    Shared& shared;
    int image, first_x, first_dy, split, scatter_tap;

    __device__ __forceinline__ WeightGrad(const WeightGradParameters& p, Shared& shared) : p(p), shared(shared) {
        const int blocks = ceil_div(p.channels_x[0], CHANNELS_X), block = static_cast<int>(blockIdx.x);
        image = block < blocks ? 0 : 1;
        first_x = (block - image * blocks) * CHANNELS_X;
        first_dy = static_cast<int>(blockIdx.y) * CHANNELS_DY;
        split = static_cast<int>(blockIdx.z) % p.splits;
        scatter_tap = static_cast<int>(blockIdx.z) / p.splits;
    }

    /// Copies `EDGE` channels of the pixels of a tile of `TILE_ROWS` x `TILE_COLUMNS` that starts at (top, left) of image n.
    template <bool ALIGNED, int TILE_ROWS, int TILE_COLUMNS, int EDGE, int STRIDE>
    static __device__ __forceinline__ void load_tile(T* tile, const T* image, int channels, int first_channel, int n, int top, int left,
                                                     int height, int width, int step, int tap) {
        constexpr int VECTORS = EDGE / VECTOR<T>;
        for (int item = thread_in_block(); item < TILE_ROWS * TILE_COLUMNS * VECTORS; item += THREADS) {
            const int pixel = item / VECTORS, first = item % VECTORS * VECTOR<T>;
            const int y = (top + pixel / TILE_COLUMNS) * step + tap / 2, x = (left + pixel % TILE_COLUMNS) * step + tap % 2;
            const bool inside = y >= 0 && y < height && x >= 0 && x < width;
            const int valid = inside ? channels - first_channel - first : 0;
            const T* from = image + ((int64_t{n} * height + y) * width + x) * channels + first_channel + first;
            copy_vector<ALIGNED>(tile + pixel * STRIDE + first, from, valid);
        }
    }

    template <bool ALIGNED>
    __device__ __forceinline__ void load(int tile, int end) {
        if (tile < end) {
            const int tiles_x = ceil_div(p.width, COLUMNS), tiles_y = ceil_div(p.height, ROWS);
            const int left = tile % tiles_x * COLUMNS, top = tile / tiles_x % tiles_y * ROWS, n = tile / tiles_x / tiles_y;
            constexpr int BORDER = HALO ? 1 : 0, STEP = SCATTER ? 2 : 1;
            load_tile<ALIGNED, X_ROWS, X_COLUMNS, CHANNELS_X, X_STRIDE>(shared.x[tile % STAGES], static_cast<const T*>(p.x[image]),
                                                                        p.channels_x[image], first_x, n, top - BORDER, left - BORDER,
                                                                        p.height, p.width, 1, 0);
            load_tile<ALIGNED, ROWS, COLUMNS, CHANNELS_DY, DY_STRIDE>(shared.dy[tile % STAGES], static_cast<const T*>(p.dy), p.channels_dy,
                                                                      first_dy, n, top, left, p.height * STEP, p.width * STEP, STEP,
                                                                      SCATTER ? scatter_tap : 0);
        }
        commit_copies();
    }

    __device__ __forceinline__ void multiply(int tile, typename M::C (&c)[UNITS_X][UNITS_DY]) const {
        constexpr int STEPS = ROWS * COLUMNS / M::DEPTH, STEPS_OF_ROW = COLUMNS / M::DEPTH;
        const int warp = warp_in_block();
        const int tap_row = HALO ? warp / 3 : 0, tap_column = HALO ? warp % 3 : 0;
#pragma unroll
        for (int step = HALO ? 0 : warp; step < STEPS; step += HALO ? 1 : WARPS) {
            const int row = step / STEPS_OF_ROW, column = step % STEPS_OF_ROW * M::DEPTH;
            const T* dy = shared.dy[tile % STAGES] + (row * COLUMNS + column) * DY_STRIDE;
            const T* x = shared.x[tile % STAGES] + ((row + tap_row) * X_COLUMNS + column + tap_column) * X_STRIDE;
            typename M::template B<false> b[UNITS_DY];
#pragma unroll
            for (int u = 0; u < UNITS_DY; ++u) b[u].load(dy + u * MATRIX, DY_STRIDE);
#pragma unroll
            for (int m = 0; m < UNITS_X; ++m) {
                typename M::template A<true> a;
                a.load(x + m * MATRIX, X_STRIDE);
#pragma unroll
                for (int u = 0; u < UNITS_DY; ++u) M::multiply(c[m][u], a, b[u]);
            }
        }
    }

    __device__ __forceinline__ void store_weight(int tap, int x, int dy, float value) const {
        const int channels_x = p.channels_x[0] + p.channels_x[1];
        if (first_x + x >= p.channels_x[image] || first_dy + dy >= p.channels_dy) return;
        const int ci = first_x + x + (image == 0 ? 0 : p.channels_x[0]);
        p.dw[((int64_t{split} * TAPS + tap) * channels_x + ci) * p.channels_dy + first_dy + dy] = value;
    }

    /// Each warp has a tap of its own.
    __device__ __forceinline__ void store_taps(const typename M::C (&c)[UNITS_X][UNITS_DY]) const {
#pragma unroll
        for (int m = 0; m < UNITS_X; ++m)
#pragma unroll
            for (int u = 0; u < UNITS_DY; ++u)
#pragma unroll
                for (int i = 0; i < 8; ++i) store_weight(warp_in_block(), m * MATRIX + M::row(i), u * MATRIX + M::column(i), c[m][u].v[i]);
    }

    /// The warps have parts of one tap, which are added in their order.
    __device__ __forceinline__ void store_sum(const typename M::C (&c)[UNITS_X][UNITS_DY]) {
        __syncthreads();
#pragma unroll
        for (int m = 0; m < UNITS_X; ++m)
#pragma unroll
            for (int u = 0; u < UNITS_DY; ++u)
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    const int row = warp_in_block() * CHANNELS_X + m * MATRIX + M::row(i);
                    shared.sums[row * SUM_STRIDE + u * MATRIX + M::column(i)] = c[m][u].v[i];
                }
        __syncthreads();
        for (int item = thread_in_block(); item < CHANNELS_X * CHANNELS_DY; item += THREADS) {
            const int x = item / CHANNELS_DY, dy = item % CHANNELS_DY;
            float sum = 0.0f;
#pragma unroll
            for (int warp = 0; warp < WARPS; ++warp) sum += shared.sums[(warp * CHANNELS_X + x) * SUM_STRIDE + dy];
            store_weight(SCATTER ? scatter_tap : 0, x, dy, sum);
        }
    }

    template <bool ALIGNED>
    __device__ __forceinline__ void accumulate(typename M::C (&c)[UNITS_X][UNITS_DY]) {
        const int64_t tiles = int64_t{p.n} * ceil_div(p.height, ROWS) * ceil_div(p.width, COLUMNS);
        const int first = static_cast<int>(tiles * split / p.splits), end = static_cast<int>(tiles * (split + 1) / p.splits);
        load<ALIGNED>(first, end);
        for (int tile = first; tile < end; ++tile) {
            load<ALIGNED>(tile + 1, end);
            wait_copies<STAGES - 1>();
            __syncthreads();
            multiply(tile, c);
            // Nobody overwrites what others still read.
            __syncthreads();
        }
        wait_copies<0>();
    }

    __device__ __forceinline__ void run() {
        typename M::C c[UNITS_X][UNITS_DY] = {};
        if (p.channels_x[image] % VECTOR<T> + p.channels_dy % VECTOR<T> == 0) {
            accumulate<true>(c);
        } else {
            accumulate<false>(c);
        }
        if constexpr (HALO) {
            store_taps(c);
        } else {
            store_sum(c);
        }
    }
};
