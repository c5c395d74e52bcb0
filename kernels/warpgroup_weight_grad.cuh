// Gradients of 3x3 convolutions' weights on Hopper: as `weight_grad.cuh`, with `wgmma`, and rows and columns exchanged.
//
// A block computes all nine taps of 64 output channels, the rows, by 64 input channels over a range of tiles of 32 x 8 pixels, with three
// warpgroups, one a row of taps, while a fourth one copies the next tile. A tile of x with its border and one of dy lie in shared memory
// (`warpgroup.cuh` says how): a tap is another start in x. dy goes through registers, once for three taps, so that products read shared memory at half of
// its rate.
#pragma once

#include "warpgroup.cuh"
#include "weight_grad.cuh"

#if HAS_WARPGROUPS

struct WarpgroupWeightGrad {
    static constexpr int GROUPS = 3, THREADS = (GROUPS + 1) * WARPGROUP;
    // Registers of a thread that multiplies, and of one that copies; together as many as the block starts with.
    static constexpr int MULTIPLYING_REGISTERS = 152, COPYING_REGISTERS = 56;
    static_assert(GROUPS * MULTIPLYING_REGISTERS + COPYING_REGISTERS == (GROUPS + 1) * 128);
    static constexpr int ROWS = 32, COLUMNS = 8, PIXELS = ROWS * COLUMNS;
    static constexpr int X_COLUMNS = COLUMNS + 2, X_PIXELS = (ROWS + 2) * X_COLUMNS;
    static constexpr int CHANNELS = ROW_CHANNELS;
    static constexpr int STAGES = 2, TAPS = 9;
    /// Products of 16 pixels whose dy is in registers at once, and how often that is.
    static constexpr int STEPS = 4, PARTS = PIXELS / MATRIX / STEPS;

    struct Shared {
        Rows<X_PIXELS> x[STAGES];
        Rows<PIXELS> dy[STAGES];
    };

    /// A tile of pixels.
    struct Tile {
        int n, top, left;

        __device__ __forceinline__ Tile(const WeightGradParameters& p, int number) {
            const int tiles_x = ceil_div(p.width, COLUMNS), tiles_y = ceil_div(p.height, ROWS);
            left = number % tiles_x * COLUMNS;
            top = number / tiles_x % tiles_y * ROWS;
            n = number / tiles_x / tiles_y;
        }
    };

    const WeightGradParameters& p;
    Shared& shared;
    int image, first_x, first_dy, split, first_tile, end_tile;

    __device__ __forceinline__ WarpgroupWeightGrad(const WeightGradParameters& p, Shared& shared) : p(p), shared(shared) {
        const int blocks = ceil_div(p.channels_x[0], CHANNELS), block = static_cast<int>(blockIdx.x);
        image = block < blocks ? 0 : 1;
        first_x = (block - image * blocks) * CHANNELS;
        first_dy = static_cast<int>(blockIdx.y) * CHANNELS;
        split = static_cast<int>(blockIdx.z);
        const int64_t tiles = int64_t{p.n} * ceil_div(p.height, ROWS) * ceil_div(p.width, COLUMNS);
        first_tile = static_cast<int>(tiles * split / p.splits), end_tile = static_cast<int>(tiles * (split + 1) / p.splits);
    }

    /// Copies 64 channels of a tile of `TILE_ROWS` x (8 + BORDER) pixels that starts at (top, left). A thread has a line of a pixel's row and a
    /// column, which it goes down: so that copies cost little more than their own instructions. Eight lanes copy a row.
    template <int TILE_ROWS, int BORDER, typename Destination>
    __device__ __forceinline__ void copy_tile(Destination& tile, const void* from, int channels, int first_channel, int n, int top, int left) const {
        constexpr int TILE_COLUMNS = COLUMNS + BORDER;
        constexpr int ACROSS = WARPGROUP / ROW_LINES;
        const int thread = thread_in_block() % WARPGROUP, line = thread % ROW_LINES, across = thread / ROW_LINES;
        const int channel = first_channel + line * VECTOR<f16>;
        const int64_t row_stride = int64_t{p.width} * channels;
        const f16* first = static_cast<const f16*>(from) + ((int64_t{n} * p.height + top) * p.width + left) * channels + channel;
        // Rows `row`, row + STEP and so on of a column.
        const auto copy_column = [&](auto step, int row, int column) {
            constexpr int STEP = decltype(step)::value, COPIES = ceil_div(TILE_ROWS, STEP);
            const bool in_columns = static_cast<unsigned>(left + column) < static_cast<unsigned>(p.width) && channel < channels;
            const f16* pixel = first + row * row_stride + column * channels;
#pragma unroll 4
            for (int i = 0; i < COPIES; ++i) {
                const bool inside = in_columns && static_cast<unsigned>(top + row + i * STEP) < static_cast<unsigned>(p.height);
                if (TILE_ROWS % STEP == 0 || row + i * STEP < TILE_ROWS) copy_16_bytes(tile.at((row + i * STEP) * TILE_COLUMNS + column, line), pixel, inside);
                pixel += STEP * row_stride;
            }
        };
        copy_column(Constant<ACROSS / COLUMNS>{}, across / COLUMNS, across % COLUMNS);
        if constexpr (BORDER > 0) copy_column(Constant<ACROSS / BORDER>{}, across / BORDER, COLUMNS + across % BORDER);
    }

    /// What the fourth warpgroup does.
    __device__ __forceinline__ void copy() const {
        // One tile ahead: behind each barrier, all are through with the tile before.
#pragma unroll 1
        for (int tile = first_tile; tile <= end_tile; ++tile) {
            if (tile < end_tile) {
                const int stage = tile % STAGES;
                const auto [n, top, left] = Tile(p, tile);
                copy_tile<ROWS + 2, 2>(shared.x[stage], p.x[image], p.channels_x[image], first_x, n, top - 1, left - 1);
                copy_tile<ROWS, 0>(shared.dy[stage], p.dy, p.channels_dy, first_dy, n, top, left);
            }
            commit_copies();
            wait_copies<0>();
            __syncthreads();
        }
    }

    /// The products of a part of a tile.
    __device__ __forceinline__ void multiply(int stage, int part, float (&c)[3][32]) const {
        const int lane = lane_in_warp(), warp = warp_in_block() % 4, tap_row = warp_in_block() / 4;
        // Matrices in the order (channels 0-7, pixels 0-7), (channels 8-15, pixels 0-7), then pixels 8-15.
        const int pixel = part * STEPS * MATRIX + lane / 16 * 8 + lane % 8, first_row = part * STEPS * MATRIX / COLUMNS + tap_row;
        uint32_t a[STEPS][4];
#pragma unroll
        for (int k = 0; k < STEPS; ++k) load_matrix_x4<true>(a[k], shared.dy[stage].at(pixel + k * MATRIX, 2 * warp + lane / 8 % 2));
#pragma unroll
        for (int tap = 0; tap < 3; ++tap) pin(c[tap]);
        begin_products();
#pragma unroll
        for (int k = 0; k < STEPS; ++k)
#pragma unroll
            for (int tap = 0; tap < 3; ++tap)
                multiply_64x64(c[tap], a[k], operand(shared.x[stage], (first_row + k * MATRIX / COLUMNS) * X_COLUMNS + tap, 0, X_COLUMNS));
        commit_products();
        wait_products<0>();
#pragma unroll
        for (int tap = 0; tap < 3; ++tap) pin(c[tap]);
    }

    __device__ __forceinline__ void accumulate(float (&c)[3][32]) const {
        __syncthreads();
#pragma unroll 1
        for (int tile = first_tile; tile < end_tile; ++tile) {
            acquire_for_products();
#pragma unroll 1
            for (int part = 0; part < PARTS; ++part) multiply(tile % STAGES, part, c);
            __syncthreads();
        }
    }

    __device__ __forceinline__ void store(const float (&c)[3][32]) const {
        const int lane = lane_in_warp(), warp = warp_in_block() % 4, tap_row = warp_in_block() / 4;
        const int channels_x = p.channels_x[0] + p.channels_x[1], before = image == 0 ? 0 : p.channels_x[0];
#pragma unroll
        for (int tap = 0; tap < 3; ++tap)
#pragma unroll
            for (int i = 0; i < 32; ++i) {
                const int dy = first_dy + warp * MATRIX + lane / 4 + i / 2 % 2 * 8, x = first_x + i / 4 * 8 + lane % 4 * 2 + i % 2;
                if (dy >= p.channels_dy || x >= p.channels_x[image]) continue;
                const int64_t line = (int64_t{split} * TAPS + 3 * tap_row + tap) * channels_x + before + x;
                p.dw[line * p.channels_dy + dy] = c[tap][i];
            }
    }

    __device__ __forceinline__ void run() const {
        if (warp_in_block() / 4 == GROUPS) {
            take_registers<COPYING_REGISTERS, false>();
            copy();
        } else {
            take_registers<MULTIPLYING_REGISTERS, true>();
            float c[3][32] = {};
            accumulate(c);
            store(c);
        }
    }
};

#endif
