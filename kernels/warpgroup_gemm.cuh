// 3x3 convolutions on Hopper: the product of `implicit_gemm.cuh` turned around, its rows being output channels and its columns pixels, for
// `wgmma` takes 64 rows and 256 columns.
//
// Two warpgroups compute 64 output channels of 32 x 16 pixels, eight columns each, and a third one copies for them. The depth goes in chunks of
// 64 channels. Of each a tile of pixels with its border lies in shared memory (`warpgroup.cuh` says how), and the nine taps are nine starts in
// it; the next chunk's tile arrives in parts meanwhile. Weights come tap by tap, two steps ahead. A multiprocessor has one block, which goes
// from item to item of the work; when one is stored, the next one's first tile and weights are on their way. All three pass a barrier at every step.
#pragma once

#include "implicit_gemm.cuh"
#include "warpgroup.cuh"

#if HAS_WARPGROUPS

template <Weights WEIGHTS>
struct WarpgroupGemm {
    static constexpr int GROUPS = 2, THREADS = (1 + GROUPS) * WARPGROUP;
    static constexpr int ROWS = 32, COLUMNS = 8, CHANNELS = 64;  // of a warpgroup's output
    static constexpr int DEPTH = ROW_CHANNELS;
    static constexpr int TAPS = 9, STAGES = 4, AHEAD = STAGES - 2;
    static constexpr int TILE_ROWS = ROWS + 2, TILE_COLUMNS = GROUPS * COLUMNS + 2, TILE_PIXELS = TILE_ROWS * TILE_COLUMNS;
    static constexpr int OUT_PIXELS = ROWS * COLUMNS, OUT_STRIDE = CHANNELS + VECTOR<f16>;
    static constexpr bool TRANSPOSED = WEIGHTS == Weights::TRANSPOSED;

    struct Shared {
        Rows<TILE_PIXELS> x[2];
        // Of a forward pass rows are channels of the depth, of a gradient those that the block computes.
        Rows<CHANNELS> w[STAGES];
    };
    static_assert(GROUPS * OUT_PIXELS * OUT_STRIDE * sizeof(f16) <= sizeof(Shared::x[0]));

    /// Where a warpgroup's work lies: image, first pixel, first output channel.
    struct Item {
        int number, n, top, left, first_out;

        __device__ __forceinline__ Item(const ConvolutionParameters& p, int number) : number(number) {
            // Items of the same pixels are computed at the same time, and find them in the cache.
            const int blocks = ceil_div(p.channels_out[0] + p.channels_out[1], CHANNELS), tile = number / blocks;
            const int tiles_x = ceil_div(p.width, GROUPS * COLUMNS), tiles_y = ceil_div(p.height, ROWS);
            first_out = number % blocks * CHANNELS;
            left = tile % tiles_x * GROUPS * COLUMNS;
            top = tile / tiles_x % tiles_y * ROWS;
            n = tile / tiles_x / tiles_y;
        }
        __device__ __forceinline__ bool exists(const ConvolutionParameters& p) const { return n < p.n; }
    };

    /// Channels of an item's depth: of which image, and from which of its channels on.
    struct Chunk {
        Item item;
        int buffer = 0, image = 0, channel = 0;

        __device__ __forceinline__ Chunk next(const ConvolutionParameters& p) const {
            Chunk next{item, 1 - buffer, image, channel + DEPTH};
            if (next.channel < p.channels_in[image]) return next;
            next.channel = 0;
            next.image = image == 0 && p.channels_in[1] > 0;
            if (next.image == 0) next.item = Item(p, item.number + static_cast<int>(gridDim.x));
            return next;
        }
        __device__ __forceinline__ bool is_first() const { return image == 0 && channel == 0; }
    };

    /// A tap of a chunk.
    struct Step {
        Chunk chunk;
        int tap = 0, stage = 0;

        __device__ __forceinline__ void advance(const ConvolutionParameters& p) {
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            if (++tap == TAPS) tap = 0, chunk = chunk.next(p);
        }
    };

    const ConvolutionParameters& p;
    Shared& shared;

    /// What the third warpgroup does. A thread has a line of the row of a pixel, and a column of a tile of pixels, which it goes down: so that
    /// copies cost little more than their own instructions. Eight lanes copy a row.
    struct Copies {
        const ConvolutionParameters& p;
        Shared& shared;
        int line, column;
        /// Of the chunk that is copied: the pixel in this thread's column, and in one of the columns beyond those of all threads.
        const f16 *pixel, *beyond;
        int64_t row_stride;
        bool in_pixels, in_beyond;

        static constexpr int ACROSS = WARPGROUP / ROW_LINES, BEYOND = TILE_COLUMNS - ACROSS;
        static constexpr int PARTS = TAPS - 2, PART_ROWS = ceil_div(TILE_ROWS, PARTS);
        static_assert(PART_ROWS * BEYOND <= ACROSS);
        // The last part is there when the next chunk's first step waits.
        static_assert(PARTS + AHEAD <= TAPS);

        __device__ __forceinline__ Copies(const ConvolutionParameters& p, Shared& shared) : p(p), shared(shared) {
            const int thread = thread_in_block() % WARPGROUP;
            line = thread % ROW_LINES, column = thread / ROW_LINES;
        }

        __device__ __forceinline__ int beyond_column() const { return ACROSS + column % BEYOND; }

        __device__ __forceinline__ void begin_x(const Chunk& chunk) {
            const int channels = p.channels_in[chunk.image], channel = chunk.channel + line * VECTOR<f16>, left = chunk.item.left - 1;
            const int64_t first = (int64_t{chunk.item.n} * p.height + chunk.item.top - 1) * p.width + left;
            const f16* image = static_cast<const f16*>(p.x[chunk.image]) + channel;
            row_stride = int64_t{p.width} * channels;
            pixel = image + (first + column) * channels;
            beyond = image + (first + beyond_column()) * channels + column / BEYOND * row_stride;
            const auto is_inside = [&](int at) { return static_cast<unsigned>(left + at) < static_cast<unsigned>(p.width) && channel < channels; };
            in_pixels = is_inside(column);
            in_beyond = is_inside(beyond_column());
        }

        /// A part of a tile: some rows.
        __device__ __forceinline__ void copy_x(const Chunk& chunk, int part) {
            const int top = chunk.item.top - 1, first = part * PART_ROWS;
            const auto is_inside = [&](int row) { return static_cast<unsigned>(top + row) < static_cast<unsigned>(p.height); };
            auto& to = shared.x[chunk.buffer];
#pragma unroll
            for (int i = 0; i < PART_ROWS; ++i) {
                if (first + i < TILE_ROWS) copy_16_bytes(to.at((first + i) * TILE_COLUMNS + column, line), pixel, in_pixels && is_inside(first + i));
                pixel += row_stride;
            }
            const int row = column / BEYOND;
            if (row < PART_ROWS && first + row < TILE_ROWS)
                copy_16_bytes(to.at((first + row) * TILE_COLUMNS + beyond_column(), line), beyond, in_beyond && is_inside(first + row));
            beyond += PART_ROWS * row_stride;
        }

        __device__ __forceinline__ void copy_w(const Step& step) const {
            // Of the gradient the taps are mirrored.
            const int tap = TRANSPOSED ? TAPS - 1 - step.tap : step.tap, first_out = step.chunk.item.first_out;
            const int first_in = step.chunk.channel + (step.chunk.image == 0 ? 0 : p.channels_in[0]);
            const int row = TRANSPOSED ? first_out : first_in, channel = (TRANSPOSED ? first_in : first_out) + line * VECTOR<f16>;
            // A chunk ends where its image's channels end.
            const int depth = p.channels_in[step.chunk.image] - step.chunk.channel;
            const int rows = TRANSPOSED ? p.w_rows - first_out : depth, channels = TRANSPOSED ? depth : p.w_columns - first_out;
            const bool is_channel = line * VECTOR<f16> < channels;
            const f16* from = static_cast<const f16*>(p.w) + (int64_t{tap} * p.w_rows + row) * p.w_columns + channel;
#pragma unroll
            for (int i = column; i < CHANNELS; i += ACROSS)
                copy_16_bytes(shared.w[step.stage].at(i, line), from + int64_t{i} * p.w_columns, is_channel && i < rows);
        }

        __device__ __forceinline__ void run(Step step) {
            Step ahead = step;
            begin_x(step.chunk);
            for (int part = 0; part < PARTS; ++part) copy_x(step.chunk, part);
            for (int i = 0; i < AHEAD; ++i) {
                copy_w(ahead);
                commit_copies();
                ahead.advance(p);
            }
            Chunk next = step.chunk;
#pragma unroll 1
            while (step.chunk.item.exists(p)) {
                if (step.tap == 0) {
                    next = step.chunk.next(p);
                    begin_x(next);
                }
                wait_copies<AHEAD - 1>();
                // All are through with the step before the last one, so copies may take its place.
                __syncthreads();
                if (ahead.chunk.item.exists(p)) copy_w(ahead);
                if (next.item.exists(p) && step.tap >= 1 && step.tap <= PARTS) copy_x(next, step.tap - 1);
                commit_copies();
                ahead.advance(p);
                step.advance(p);
                if (step.tap == 0 && step.chunk.is_first()) {
                    // The barriers of storing.
                    __syncthreads();
                    __syncthreads();
                }
            }
            wait_copies<0>();
        }
    };

    __device__ __forceinline__ WarpgroupGemm(const ConvolutionParameters& p, Shared& shared) : p(p), shared(shared) {}

    /// Starts a step's products.
    __device__ __forceinline__ void multiply(const Step& step, float (&c)[128]) const {
        const int group = warp_in_block() / 4, first_pixel = step.tap / 3 * TILE_COLUMNS + step.tap % 3 + group * COLUMNS;
        begin_products();
#pragma unroll
        for (int k = 0; k < DEPTH; k += MATRIX) {
            const uint64_t w = operand(shared.w[step.stage], TRANSPOSED ? 0 : k, TRANSPOSED ? k : 0, SWIZZLE_ROWS);
            multiply_64x256<!TRANSPOSED>(c, w, operand(shared.x[step.chunk.buffer], first_pixel, k, TILE_COLUMNS));
        }
        commit_products();
    }

    /// Computes an item, whose first chunk `step` is at, and leaves `step` at the next one.
    __device__ __forceinline__ void accumulate(Step& step, float (&c)[128]) const {
        pin(c);
#pragma unroll 1
        do {
            __syncthreads();
            acquire_for_products();
            multiply(step, c);
            wait_products<1>();
            step.advance(p);
        } while (step.tap != 0 || !step.chunk.is_first());
        wait_products<0>();
        pin(c);
    }

    /// Through the tile of the last chunk, where pixels get their channels side by side.
    __device__ __forceinline__ void store(const Item& item, f16* out, const float (&c)[128]) const {
        const int lane = lane_in_warp(), first = warp_in_block() % 4 * MATRIX, channels = p.channels_out[0] + p.channels_out[1];
        float bias[2] = {};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int channel = item.first_out + first + lane / 4 + 8 * i;
            if (p.bias && channel < channels) bias[i] = p.bias[channel];
        }
        // Two groups of eight pixels by two of eight channels at once.
        const int group = warp_in_block() / 4, pixel = group * OUT_PIXELS + lane / 16 * 8 + lane % 8;
        f16* row = out + pixel * OUT_STRIDE + first + lane / 8 % 2 * 8;
#pragma unroll
        for (int i = 0; i < 128; i += 8) {
            uint32_t r[4];
#pragma unroll
            for (int m = 0; m < 4; ++m) r[m] = pack_halves(c[i + 2 * m] + bias[m % 2], c[i + 2 * m + 1] + bias[m % 2]);
            store_matrix_x4_transposed(row + i * 2 * OUT_STRIDE, r);
        }
        __syncthreads();
        // A thread has eight channels, and every fourth pixel of a column of each group.
        constexpr int STEP = GROUPS * WARPGROUP / ROW_LINES / COLUMNS;
        const int channel = thread_in_block() % ROW_LINES * VECTOR<f16>, column = thread_in_block() / ROW_LINES % COLUMNS;
        const int first_row = thread_in_block() / ROW_LINES / COLUMNS, image = item.first_out + channel < p.channels_out[0] ? 0 : 1;
        const int local = item.first_out + channel - (image == 0 ? 0 : p.channels_out[0]), channels_out = p.channels_out[image];
        if (local >= channels_out) return;
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const int x = item.left + g * COLUMNS + column;
            const f16* from = out + (g * OUT_PIXELS + first_row * COLUMNS + column) * OUT_STRIDE + channel;
            f16* to = static_cast<f16*>(p.y[image]) + ((int64_t{item.n} * p.height + item.top + first_row) * p.width + x) * channels_out + local;
#pragma unroll
            for (int row = 0; row < ROWS; row += STEP) {
                const auto eight = load_vector<VECTOR<f16>>(from + row * COLUMNS * OUT_STRIDE);
                if (x < p.width && item.top + first_row + row < p.height) store_16_bytes(to, eight);
                to += int64_t{STEP} * p.width * channels_out;
            }
        }
    }

    __device__ __forceinline__ void run() {
        Step step{Chunk{Item(p, static_cast<int>(blockIdx.x))}};
        if (warp_in_block() / 4 == GROUPS) {
            Copies(p, shared).run(step);
            return;
        }
#pragma unroll 1
        while (step.chunk.item.exists(p)) {
            const Item item = step.chunk.item;
            float c[128] = {};
            accumulate(step, c);
            // The last products of all have been added. The tile that they read is the one that `step` does not begin with.
            __syncthreads();
            store(item, reinterpret_cast<f16*>(&shared.x[1 - step.chunk.buffer]), c);
        }
    }
};

#endif
