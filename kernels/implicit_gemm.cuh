// Convolutions as one product of matrices: rows are pixels, columns output channels, the depth runs over taps and input channels.
//
// A block computes 8 x 16 pixels of one image by 64 output channels with four warps, two rows of pixels each. The depth goes in chunks of 64
// bytes of channels. A 3x3 neighbourhood is read once a chunk, with a border of one pixel, and its nine taps are nine views of the same tile:
// a row of the matrix is 16 pixels side by side, whatever the tap. Copies run two steps ahead of the products.
//
// Rows in shared memory are padded by 16 bytes: 80 bytes apart for pixels, so that the eight rows of a matrix load lie in different banks.
#pragma once

#include "copy.cuh"

/// Twin: `ConvolutionParameters` in src/backend/cuda/implicit_gemm.rs.
struct ConvolutionParameters {
    /// Images [n][h][w][channels_in] whose channels follow one another.
    const void* x[2];
    /// [taps][w_rows][w_columns].
    const void* w;
    /// For each output channel; may be null.
    const float* bias;
    /// Images that share the output channels.
    void* y[2];
    /// The pixels that are computed; for a scatter those of the input.
    int32_t n, height, width;
    int32_t channels_in[2], channels_out[2];
    int32_t w_rows, w_columns;
    int32_t padding;
};
static_assert(sizeof(ConvolutionParameters) == 88);

enum class Weights {
    /// w [tap][input channel][output channel].
    FORWARD,
    /// w [tap][output channel][input channel]: the gradient of the data.
    TRANSPOSED,
};

/// `KERNEL` x `KERNEL` taps; output pixel p reads input pixel `STRIDE` p + tap (- 1 for 3x3). SCATTER: one tap a block, and the output pixel is
/// 2 p + tap: the transposed convolution.
template <typename T, int KERNEL, int STRIDE, Weights WEIGHTS, bool SCATTER>
struct ImplicitGemm {
    static constexpr int THREADS = 128;
    static constexpr int ROWS = 8, COLUMNS = 16, CHANNELS = 64;  // of the block's output
    static constexpr int STAGES = 3;
    static constexpr int PAD = VECTOR<T>;
    static constexpr int DEPTH = 64 / sizeof(T);

    static constexpr bool HALO = KERNEL == 3;
    static constexpr int TAPS = KERNEL * KERNEL;
    static constexpr int TILE_ROWS = ROWS + (HALO ? 2 : 0), TILE_COLUMNS = COLUMNS + (HALO ? 2 : 0);
    static constexpr int PIXEL_STRIDE = DEPTH + PAD;
    static constexpr int X_TILES = HALO ? 2 : STAGES;
    static constexpr bool TRANSPOSED = WEIGHTS == Weights::TRANSPOSED;
    static constexpr int W_LINES = TRANSPOSED ? CHANNELS : DEPTH;
    static constexpr int W_STRIDE = (TRANSPOSED ? DEPTH : CHANNELS) + PAD;
    static constexpr int OUT_STRIDE = CHANNELS + PAD;

    union alignas(16) Shared {
        struct {
            T x[X_TILES][TILE_ROWS * TILE_COLUMNS * PIXEL_STRIDE];
            T w[STAGES][W_LINES * W_STRIDE];
        };
        T out[ROWS * COLUMNS * OUT_STRIDE];
    };

    using M = Matrix<T>;
    static constexpr int UNITS = CHANNELS / MATRIX;

    /// A step of the depth: a tap of a chunk of channels.
    struct Step {
        int number = 0, stage = 0, tap = 0, chunk = 0, image = 0, channel = 0;

        __device__ __forceinline__ void advance(const ConvolutionParameters& p) {
            ++number;
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            if (SCATTER || ++tap == TAPS) next_chunk(p);
        }

        __device__ __forceinline__ void next_chunk(const ConvolutionParameters& p) {
            tap = 0;
            ++chunk;
            channel += DEPTH;
            if (image == 0 && channel >= p.channels_in[0]) {
                image = 1;
                channel = 0;
            }
        }
    };

    const ConvolutionParameters& p;
    Shared& shared;
    /// The block's place: image, first pixel, first output channel, and its tap if it scatters.
    int n, top, left, first_out, scatter_tap;

    __device__ __forceinline__ ImplicitGemm(const ConvolutionParameters& p, Shared& shared) : p(p), shared(shared) {
        const int tiles_x = ceil_div(p.width, COLUMNS), tiles_y = ceil_div(p.height, ROWS);
        const int tile = static_cast<int>(blockIdx.x);
        left = tile % tiles_x * COLUMNS;
        top = tile / tiles_x % tiles_y * ROWS;
        n = tile / tiles_x / tiles_y;
        const int blocks = ceil_div(p.channels_out[0] + p.channels_out[1], CHANNELS);
        first_out = static_cast<int>(blockIdx.y) % blocks * CHANNELS;
        scatter_tap = static_cast<int>(blockIdx.y) / blocks;
    }

    template <bool ALIGNED>
    __device__ __forceinline__ void load_x(const Step& step) {
        constexpr int VECTORS = DEPTH / VECTOR<T>;
        const int channels = p.channels_in[step.image];
        const T* x = static_cast<const T*>(p.x[step.image]);
        T* tile = shared.x[HALO ? step.chunk % X_TILES : step.stage];
        const int in_height = p.height * STRIDE, in_width = p.width * STRIDE;
        for (int item = thread_in_block(); item < TILE_ROWS * TILE_COLUMNS * VECTORS; item += THREADS) {
            const int pixel = item / VECTORS, first = item % VECTORS * VECTOR<T>;
            const int row = pixel / TILE_COLUMNS, column = pixel % TILE_COLUMNS;
            const int y = HALO ? top + row - 1 : (top + row) * STRIDE + step.tap / KERNEL;
            const int x_at = HALO ? left + column - 1 : (left + column) * STRIDE + step.tap % KERNEL;
            const bool inside = y >= 0 && y < in_height && x_at >= 0 && x_at < in_width;
            const int channel = step.channel + first;
            const int64_t at = ((int64_t{n} * in_height + y) * in_width + x_at) * channels + channel;
            copy_vector<ALIGNED>(tile + pixel * PIXEL_STRIDE + first, x + at, inside ? channels - channel : 0);
        }
    }

    template <bool ALIGNED>
    __device__ __forceinline__ void load_w(const Step& step) {
        constexpr int LINE_VECTORS = (TRANSPOSED ? DEPTH : CHANNELS) / VECTOR<T>;
        // Of the gradient the taps are mirrored.
        const int tap = SCATTER ? scatter_tap : TRANSPOSED && HALO ? TAPS - 1 - step.tap : step.tap;
        const int first_in = step.channel + (step.image == 0 ? 0 : p.channels_in[0]);
        const int first_line = TRANSPOSED ? first_out : first_in, first_column = TRANSPOSED ? first_in : first_out;
        // A chunk ends where its image's channels end.
        const int lines = TRANSPOSED ? p.w_rows - first_out : p.channels_in[step.image] - step.channel;
        const T* w = static_cast<const T*>(p.w) + (int64_t{tap} * p.w_rows + first_line) * p.w_columns + first_column;
        T* tile = shared.w[step.stage];
        static_assert(W_LINES * LINE_VECTORS % THREADS == 0);
#pragma unroll
        for (int i = 0; i < W_LINES * LINE_VECTORS / THREADS; ++i) {
            const int item = i * THREADS + thread_in_block();
            const int line = item / LINE_VECTORS, first = item % LINE_VECTORS * VECTOR<T>;
            const int valid = line < lines ? p.w_columns - first_column - first : 0;
            copy_vector<ALIGNED>(tile + line * W_STRIDE + first, w + line * p.w_columns + first, valid);
        }
    }

    __device__ __forceinline__ void multiply(const Step& step, typename M::C (&c)[2][UNITS]) const {
        const int tap_row = HALO ? step.tap / KERNEL : 0, tap_column = HALO ? step.tap % KERNEL : 0;
        const T* x = shared.x[HALO ? step.chunk % X_TILES : step.stage];
        x += ((2 * warp_in_block() + tap_row) * TILE_COLUMNS + tap_column) * PIXEL_STRIDE;
        const T* w = shared.w[step.stage];
#pragma unroll
        for (int k = 0; k < DEPTH; k += M::DEPTH) {
            typename M::template A<false> a[2];
#pragma unroll
            for (int m = 0; m < 2; ++m) a[m].load(x + m * TILE_COLUMNS * PIXEL_STRIDE + k, PIXEL_STRIDE);
#pragma unroll
            for (int u = 0; u < UNITS; ++u) {
                typename M::template B<TRANSPOSED> b;
                b.load(TRANSPOSED ? w + u * MATRIX * W_STRIDE + k : w + k * W_STRIDE + u * MATRIX, W_STRIDE);
#pragma unroll
                for (int m = 0; m < 2; ++m) M::multiply(c[m][u], a[m], b);
            }
        }
    }

    /// Through shared memory, so that what leaves the block leaves in whole vectors.
    __device__ __forceinline__ void store(const typename M::C (&c)[2][UNITS]) {
        const int channels = p.channels_out[0] + p.channels_out[1];
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int u = 0; u < UNITS; ++u)
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    const int column = u * MATRIX + M::column(i), row = (2 * warp_in_block() + m) * MATRIX + M::row(i);
                    const bool has_bias = p.bias && first_out + column < channels;
                    shared.out[row * OUT_STRIDE + column] = from_float<T>(c[m][u].v[i] + (has_bias ? p.bias[first_out + column] : 0.0f));
                }
        __syncthreads();
        constexpr int VECTORS = CHANNELS / VECTOR<T>;
        const bool aligned = p.channels_out[0] % VECTOR<T> == 0 && p.channels_out[1] % VECTOR<T> == 0;
        for (int item = thread_in_block(); item < ROWS * COLUMNS * VECTORS; item += THREADS) {
            const int pixel = item / VECTORS, first = item % VECTORS * VECTOR<T>;
            const int y = top + pixel / COLUMNS, x = left + pixel % COLUMNS;
            if (y >= p.height || x >= p.width) continue;
            const int64_t at = SCATTER ? (int64_t{n} * 2 * p.height + 2 * y + scatter_tap / 2) * 2 * p.width + 2 * x + scatter_tap % 2
                                       : (int64_t{n} * p.height + y) * p.width + x;
            const T* from = shared.out + pixel * OUT_STRIDE + first;
            store_pixel(at, first_out + first, from, aligned);
        }
    }

    __device__ __forceinline__ void store_pixel(int64_t pixel, int channel, const T* from, bool aligned) const {
        if (aligned) {
            const int image = channel < p.channels_out[0] ? 0 : 1;
            const int local = channel - (image == 0 ? 0 : p.channels_out[0]);
            if (local >= p.channels_out[image]) return;
            // The compiler would store it word by word.
            store_16_bytes(static_cast<T*>(p.y[image]) + pixel * p.channels_out[image] + local, load_vector<VECTOR<T>>(from));
            return;
        }
        for (int e = 0; e < VECTOR<T>; ++e) {
            const int image = channel + e < p.channels_out[0] ? 0 : 1;
            const int local = channel + e - (image == 0 ? 0 : p.channels_out[0]);
            if (local < p.channels_out[image]) static_cast<T*>(p.y[image])[pixel * p.channels_out[image] + local] = from[e];
        }
    }

    /// Multiplies step `now` while step `ahead` is on its way, and, where LOADS_X, the pixels of `x_ahead`.
    template <bool ALIGNED, bool LOADS_X>
    __device__ __forceinline__ void do_step(Step& now, Step& ahead, Step& x_ahead, int steps, int chunks, typename M::C (&c)[2][UNITS]) {
        wait_copies<STAGES - 2>();
        // The step has arrived for everybody, and everybody is done with the step whose place comes next.
        __syncthreads();
        load<ALIGNED, LOADS_X>(ahead, x_ahead, steps, chunks);
        multiply(now, c);
        now.advance(p);
    }

    /// Begins to copy what step `ahead` needs of the weights. Pixels come with the step, but those of a 3x3 neighbourhood a chunk ahead.
    template <bool ALIGNED, bool LOADS_X>
    __device__ __forceinline__ void load(Step& ahead, Step& x_ahead, int steps, int chunks) {
        if constexpr (LOADS_X && HALO) {
            if (x_ahead.chunk < chunks) load_x<ALIGNED>(x_ahead);
            x_ahead.next_chunk(p);
        }
        if (ahead.number < steps) {
            if constexpr (LOADS_X && !HALO) load_x<ALIGNED>(ahead);
            load_w<ALIGNED>(ahead);
        }
        // A group for every step, be it empty: the wait counts groups.
        commit_copies();
        ahead.advance(p);
    }

    template <bool ALIGNED>
    __device__ __forceinline__ void accumulate(typename M::C (&c)[2][UNITS]) {
        const int chunks = ceil_div(p.channels_in[0], DEPTH) + ceil_div(p.channels_in[1], DEPTH);
        const int steps = chunks * (SCATTER ? 1 : TAPS);
        Step now, ahead, x_ahead;
        load<ALIGNED, true>(ahead, x_ahead, steps, chunks);
#pragma unroll
        for (int stage = 1; stage < STAGES - 1; ++stage) load<ALIGNED, !HALO>(ahead, x_ahead, steps, chunks);
        while (now.number < steps) {
            // The pixels of the chunk after this one take the place of the one before: nobody reads that any more once a step is done.
            do_step<ALIGNED, true>(now, ahead, x_ahead, steps, chunks, c);
            if constexpr (HALO) {
#pragma unroll 1
                for (int tap = 1; tap < TAPS; ++tap) do_step<ALIGNED, false>(now, ahead, x_ahead, steps, chunks, c);
            }
        }
        wait_copies<0>();
        __syncthreads();
    }

    __device__ __forceinline__ void run() {
        typename M::C c[2][UNITS] = {};
        const int ragged = p.channels_in[0] % VECTOR<T> + p.channels_in[1] % VECTOR<T> + p.w_columns % VECTOR<T>;
        if (ragged == 0) {
            accumulate<true>(c);
        } else {
            accumulate<false>(c);
        }
        store(c);
    }
};
