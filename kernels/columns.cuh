// Columns: the values of one channel at all pixels of an image [pixels][channels]. Sums over them, and loops in which a thread keeps to
// its channels, so that what it needs of them is computed once for several pixels.
//
// The image is cut by shape alone (src/backend/cuda/columns.rs): blockIdx.x counts chunks of pixels, blockIdx.y groups of channels. In a
// block `width` threads lie side by side along the channels, with sixteen bytes each where the channels are a multiple of that and one
// channel each otherwise, in `rows` rows; row r takes pixels r, r + rows, r + 2 rows and so on of the chunk. Some threads may be left over.
//
// Sums take two launches: the first leaves partial sums [chunk][K][channels], the second adds them in f64. Their order is fixed.
#pragma once

#include "platform.cuh"

constexpr int COLUMN_THREADS = 256;
/// Pixels that a thread loads at once; where nothing is summed, a chunk has `rows` times as many.
constexpr int COLUMN_BATCH = 4;
/// Channels side by side (a sector of 32 bytes) and rows of a block that adds partial sums.
constexpr int COMBINED_CHANNELS = 8;
constexpr int COMBINED_ROWS = COLUMN_THREADS / COMBINED_CHANNELS;

struct ColumnCut {
    int64_t pixels;
    int32_t channels;
    int32_t width;
    int32_t rows;
    /// Pixels of a chunk; the last one may have fewer.
    int32_t chunk;

    __device__ __forceinline__ int64_t start(int64_t of_chunk) const { return of_chunk * chunk; }
    __device__ __forceinline__ int64_t end(int64_t of_chunk) const {
        const int64_t full = start(of_chunk) + chunk;
        return full < pixels ? full : pixels;
    }
};
static_assert(sizeof(ColumnCut) == 24);

/// Whether threads take sixteen bytes.
template <typename T>
__device__ __forceinline__ bool is_vectorised(const ColumnCut& cut) {
    return cut.channels % VECTOR<T> == 0;
}

/// This thread's part of the image: channels `channel` to `channel + V - 1` of pixels `first`, `first + rows` and so on before `end`.
/// A thread that is left over has no pixels, and channels that exist.
template <int V>
struct ColumnPart {
    int row, lane;
    int channel;
    int64_t first, end;

    __device__ __forceinline__ explicit ColumnPart(const ColumnCut& cut)
        : row(thread_in_block() / cut.width),
          lane(thread_in_block() % cut.width),
          channel((static_cast<int>(blockIdx.y) * cut.width + lane) * V),
          first(cut.start(blockIdx.x) + row),
          end(cut.end(blockIdx.x)) {
        if (row >= cut.rows || channel >= cut.channels) {
            channel = 0;
            end = first;
        }
    }

    /// Calls `on_pixel(i, at)` for the i-th of at most `COLUMN_BATCH` pixels, whose elements start at `at`.
    template <typename OnPixel>
    __device__ __forceinline__ void for_batch(const ColumnCut& cut, OnPixel on_pixel) const {
#pragma unroll
        for (int i = 0; i < COLUMN_BATCH; ++i) {
            const int64_t pixel = first + i * cut.rows;
            if (pixel < end) on_pixel(i, pixel * cut.channels + channel);
        }
    }
};

/// Numbers of V neighbouring channels.
template <int V>
struct Floats {
    float v[V];
};

template <int V>
__device__ __forceinline__ Floats<V> load_floats(const float* from) {
    Floats<V> out;
    if constexpr (V % 4 == 0) {
#pragma unroll
        for (int i = 0; i < V; i += 4) {
            const auto four = load_vector<4>(from + i);
#pragma unroll
            for (int j = 0; j < 4; ++j) out.v[i + j] = four.v[j];
        }
    } else {
#pragma unroll
        for (int i = 0; i < V; ++i) out.v[i] = from[i];
    }
    return out;
}

/// Adds up `sums` over the rows of a block; row 0 then has the totals. `shared` has room for half of the threads' sums. No thread may
/// use it before the call (or a barrier behind the call has to come first).
template <int N, typename S>
__device__ __forceinline__ void add_rows(S (&sums)[N], S* shared, int row, int lane, int width, int rows) {
    for (int n = rows; n > 1;) {
        const int half = (n + 1) / 2, stride = width * (rows / 2);
        if (row >= half && row < n) {
#pragma unroll
            for (int i = 0; i < N; ++i) shared[i * stride + (row - half) * width + lane] = sums[i];
        }
        __syncthreads();
        if (row + half < n) {
#pragma unroll
            for (int i = 0; i < N; ++i) sums[i] += shared[i * stride + row * width + lane];
        }
        n = half;
        __syncthreads();
    }
}

/// Elements that `add_rows` needs in a block that sums K terms of V channels a thread.
template <int K, int V>
constexpr int COLUMN_SHARED = K * V * COLUMN_THREADS / 2;

/// The first launch: `terms.load(at)` gives what belongs to the V elements from `at` on, and `terms.add(sums, loaded)` adds their K terms;
/// `sums[k * V + v]` is channel v's.
template <int K, int V, typename Terms>
__device__ __forceinline__ void sum_columns(const ColumnCut& cut, const ColumnPart<V>& part, const Terms& terms, float* shared, float* partials) {
    float sums[K * V] = {};
    const int64_t step = int64_t{cut.rows} * cut.channels, end = part.end * cut.channels;
    int64_t at = part.first * cut.channels + part.channel;
    // The loads of several pixels are on the way at once; the order of the sum is the same as one by one.
    for (; at + (COLUMN_BATCH - 1) * step < end; at += COLUMN_BATCH * step) {
        typename Terms::Loaded loaded[COLUMN_BATCH];
#pragma unroll
        for (int i = 0; i < COLUMN_BATCH; ++i) loaded[i] = terms.load(at + i * step);
#pragma unroll
        for (int i = 0; i < COLUMN_BATCH; ++i) terms.add(sums, loaded[i]);
    }
#pragma unroll 1
    for (; at < end; at += step) terms.add(sums, terms.load(at));
    add_rows(sums, shared, part.row, part.lane, cut.width, cut.rows);
    if (part.row > 0 || part.first >= part.end) return;
    float* to = partials + int64_t{blockIdx.x} * K * cut.channels + part.channel;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
        for (int v = 0; v < V; ++v) to[k * cut.channels + v] = sums[k * V + v];
    }
}

/// The second launch: `add(sums, terms, chunk, channel)` adds a chunk's terms in f64, `take(channel, sums)` gets the totals.
/// Grid: a block for `COMBINED_CHANNELS` channels.
template <int K, typename Add, typename Take>
__device__ __forceinline__ void combine_columns(const ColumnCut& cut, const float* partials, double* shared, Add add, Take take) {
    const int row = thread_in_block() / COMBINED_CHANNELS, lane = thread_in_block() % COMBINED_CHANNELS;
    const int channel = static_cast<int>(blockIdx.x) * COMBINED_CHANNELS + lane;
    const bool exists = channel < cut.channels;
    const int chunks = exists ? static_cast<int>(ceil_div(cut.pixels, int64_t{cut.chunk})) : 0;
    double sums[K] = {};
#pragma unroll 4
    for (int chunk = row; chunk < chunks; chunk += COMBINED_ROWS) {
        float terms[K];
#pragma unroll
        for (int k = 0; k < K; ++k) terms[k] = partials[(int64_t{chunk} * K + k) * cut.channels + channel];
        add(sums, terms, chunk, channel);
    }
    add_rows(sums, shared, row, lane, COMBINED_CHANNELS, COMBINED_ROWS);
    if (row == 0 && exists) take(channel, sums);
}

/// What most sums `add`: each chunk's terms as they are.
struct AddTerms {
    template <int K>
    __device__ __forceinline__ void operator()(double (&sums)[K], const float (&terms)[K], int, int) const {
#pragma unroll
        for (int k = 0; k < K; ++k) sums[k] += terms[k];
    }
};
