// The assignment of instances to channels. Formulae: src/ops/assign.rs.
//
// Three launches: sums over chunks of pixels, the choice for each image, the target. Sums are f64 in a fixed order, the same for every
// channel, so that channels that answer alike cost alike, to the last bit.
#include "logistic.cuh"
#include "rows.cuh"

constexpr int SUMS_THREADS = 128;
constexpr int CHOICE_THREADS = 256;
/// Pixels of a partial sum.
constexpr int64_t ASSIGN_CHUNK = 1024;
/// The most channels, and instances.
constexpr int MAX_CHANNELS = 8;
constexpr int MAX_SETS = 1 << MAX_CHANNELS;

/// What a pixel adds to the sums of its instance, and to those of the whole image.
struct Pair {
    double first, second;
};

struct AssignSumsParameters {
    const float* z;       // [N, pixels, K]
    const float* labels;  // [N, pixels]
    const float* u;       // [N, pixels]
    Pair* partials;       // [N, chunks, columns, K + 1]
    int64_t pixels;
    int32_t chunks;
    int32_t channels;
    int32_t w;
    int32_t padding;
};
static_assert(sizeof(AssignSumsParameters) == 56);

struct AssignChooseParameters {
    const Pair* partials;  // [N, chunks, columns, K + 1]
    int32_t* chosen;       // [N, K]: the channel of each instance, or -1.
    int32_t chunks;
    int32_t channels;
};
static_assert(sizeof(AssignChooseParameters) == 24);

struct AssignTargetParameters {
    const float* labels;    // [N, H, W]
    const int32_t* chosen;  // [N, K]
    float* target;          // [N, H, W, K]
    Rows rows;              // A row: (n, y). An item: elements of the row.
    int32_t h, w;
    int32_t channels;
    int32_t padding;
};
static_assert(sizeof(AssignTargetParameters) == 48);

/// The instance at a pixel, from 0; -1 on background, which NaN is as well.
__device__ __forceinline__ int instance_of(float label, int channels) {
    return label >= 1.0f && label < static_cast<float>(channels + 1) ? static_cast<int>(label) - 1 : -1;
}

struct AssignSumsShared {
    /// Every thread's own sums of each instance; the last is the whole image's.
    double first[MAX_CHANNELS + 1][SUMS_THREADS];
    double second[MAX_CHANNELS + 1][SUMS_THREADS];
};

/// Sums of what `pair(pixel of all images, pixel of the image, column)` says. A thread has every so many pixels of one column.
template <typename Of>
__device__ __forceinline__ void assign_sums(const AssignSumsParameters& p, AssignSumsShared& shared, int columns, Of pair) {
    const int thread = thread_in_block(), column = thread % columns, slots = SUMS_THREADS / columns, slot = thread / columns;
    for (int i = 0; i <= p.channels; ++i) shared.first[i][thread] = shared.second[i][thread] = 0.0;
    const int64_t image = blockIdx.x / p.chunks * p.pixels, chunk = blockIdx.x % p.chunks * ASSIGN_CHUNK;
    const int64_t end = chunk + ASSIGN_CHUNK < p.pixels ? chunk + ASSIGN_CHUNK : p.pixels;
    Pair all{};
    for (int64_t pixel = chunk + slot; pixel < end && slot < slots; pixel += slots) {
        const Pair here = pair(image + pixel, pixel, column);
        all.first += here.first;
        all.second += here.second;
        const int instance = instance_of(p.labels[image + pixel], p.channels);
        if (instance < 0) continue;
        shared.first[instance][thread] += here.first;
        shared.second[instance][thread] += here.second;
    }
    shared.first[p.channels][thread] = all.first;
    shared.second[p.channels][thread] = all.second;
    __syncthreads();
    const int rows = p.channels + 1;
    for (int entry = thread; entry < columns * rows; entry += SUMS_THREADS) {
        const int of = entry / rows, i = entry % rows;
        Pair sum{};
        for (int s = 0; s < slots; ++s) {
            sum.first += shared.first[i][s * columns + of];
            sum.second += shared.second[i][s * columns + of];
        }
        p.partials[int64_t{blockIdx.x} * columns * rows + entry] = sum;
    }
}

/// Column k: u z_k, u p_k. Column K: u. Grid: image and chunk.
KERNEL(assign_answer_sums, SUMS_THREADS, AssignSumsParameters) {
    SHARED(AssignSumsShared, shared);
    assign_sums(p, shared, p.channels + 1, [&](int64_t at, int64_t, int k) -> Pair {
        const float u = p.u[at];
        // A pixel without weight contributes nothing, whatever was predicted there.
        if (u == 0.0f) return {0.0, 0.0};
        if (k == p.channels) return {u, 0.0};
        const float z = p.z[at * p.channels + k];
        return {static_cast<double>(u) * z, static_cast<double>(u) * sigmoid(z)};
    });
}

/// Column 0: u, 1. Column 1: y, x. These are whole numbers that f64 holds exactly. Grid: image and chunk.
KERNEL(assign_place_sums, SUMS_THREADS, AssignSumsParameters) {
    SHARED(AssignSumsShared, shared);
    assign_sums(p, shared, 2, [&](int64_t at, int64_t pixel, int column) -> Pair {
        if (column == 0) return {p.u[at], 1.0};
        return {static_cast<double>(pixel / p.w), static_cast<double>(pixel % p.w)};
    });
}

struct AssignChooseShared {
    Pair parts[CHOICE_THREADS];
    /// [columns][K + 1]
    Pair sums[(MAX_CHANNELS + 1) * (MAX_CHANNELS + 1)];
    double gain[MAX_CHANNELS][MAX_CHANNELS];
    double least[MAX_SETS];
    uint8_t choice[MAX_SETS];
    /// The instances that are there, and how many.
    int present[MAX_CHANNELS];
    int n_present;
};

/// Adds up the image's chunks.
__device__ __forceinline__ void add_chunks(const AssignChooseParameters& p, AssignChooseShared& shared, int columns) {
    const int entries = columns * (p.channels + 1), parts = CHOICE_THREADS / entries;
    const int thread = thread_in_block(), entry = thread % entries, part = thread / entries;
    const Pair* partials = p.partials + int64_t{blockIdx.x} * p.chunks * entries + entry;
    Pair sum{};
#pragma unroll 4
    for (int chunk = part; chunk < p.chunks && part < parts; chunk += parts) {
        const Pair here = partials[int64_t{chunk} * entries];
        sum.first += here.first;
        sum.second += here.second;
    }
    shared.parts[thread] = sum;
    __syncthreads();
    if (part == 0) {
        for (int i = 1; i < parts; ++i) {
            sum.first += shared.parts[i * entries + entry].first;
            sum.second += shared.parts[i * entries + entry].second;
        }
        shared.sums[entry] = sum;
    }
    __syncthreads();
}

/// What it costs more that channel `k` has instance `i` than that it stays empty.
__device__ __forceinline__ double gain_of(const AssignChooseShared& shared, int channels, int k, int i) {
    const int rows = channels + 1;
    const Pair instance = shared.sums[k * rows + i];
    const double predicted = shared.sums[k * rows + channels].second, weight = shared.sums[channels * rows + channels].first;
    const double instance_weight = shared.sums[channels * rows + i].first;
    const double dice = (2.0 * instance.second + 1.0) / (predicted + instance_weight + 1.0);
    return 1.0 / (predicted + 1.0) - instance.first / weight - dice;
}

/// Finds, for the set `taken`, the channel of the next instance; ties to the lowest.
__device__ __forceinline__ void choose_next(AssignChooseShared& shared, int channels, int taken, int instance) {
    double best = 0.0;
    int choice = -1;
    for (int k = 0; k < channels; ++k) {
        if (taken >> k & 1) continue;
        const double sum = shared.gain[k][instance] + shared.least[taken | 1 << k];
        if (choice < 0 || sum < best) {
            best = sum;
            choice = k;
        }
    }
    shared.least[taken] = best;
    shared.choice[taken] = static_cast<uint8_t>(choice);
}

/// Grid: one block for each image. A thread for each set of channels; larger sets come first.
KERNEL(assign_choose_least_cost, CHOICE_THREADS, AssignChooseParameters) {
    SHARED(AssignChooseShared, shared);
    const int thread = thread_in_block();
    int32_t* chosen = p.chosen + int64_t{blockIdx.x} * p.channels;
    add_chunks(p, shared, p.channels + 1);
    if (thread == 0) {
        int n = 0;
        for (int i = 0; i < p.channels; ++i) {
            chosen[i] = -1;
            if (shared.sums[p.channels * (p.channels + 1) + i].first > 0.0) shared.present[n++] = i;
        }
        shared.n_present = n;
    }
    __syncthreads();
    const int n = shared.n_present, k = thread % MAX_CHANNELS, j = thread / MAX_CHANNELS;
    if (k < p.channels && j < n) shared.gain[k][j] = gain_of(shared, p.channels, k, shared.present[j]);
    int size = 0;
    for (int i = 0; i < p.channels; ++i) size += thread >> i & 1;
    const bool is_set = thread < 1 << p.channels;
    if (is_set && size >= n) shared.least[thread] = 0.0;
    for (int of = n - 1; of >= 0; --of) {
        __syncthreads();
        if (is_set && size == of) choose_next(shared, p.channels, thread, of);
    }
    __syncthreads();
    if (thread != 0) return;
    for (int i = 0, taken = 0; i < n; ++i) {
        const int channel = shared.choice[taken];
        chosen[shared.present[i]] = channel;
        taken |= 1 << channel;
    }
}

/// -1 where a / of_a < b / of_b, 1 where it is larger, 0 where they are equal: without rounding, for `of` below 2^32.
__device__ __forceinline__ int compare_means(double a, double of_a, double b, double of_b) {
    const uint64_t a_sum = static_cast<uint64_t>(a), a_n = static_cast<uint64_t>(of_a);
    const uint64_t b_sum = static_cast<uint64_t>(b), b_n = static_cast<uint64_t>(of_b);
    const uint64_t a_whole = a_sum / a_n, b_whole = b_sum / b_n;
    if (a_whole != b_whole) return a_whole < b_whole ? -1 : 1;
    const uint64_t a_rest = a_sum % a_n * b_n, b_rest = b_sum % b_n * a_n;
    return a_rest < b_rest ? -1 : a_rest > b_rest;
}

/// Grid: one block for each image. An instance's channel is the number of those that come before it.
KERNEL(assign_choose_spatial, CHOICE_THREADS, AssignChooseParameters) {
    SHARED(AssignChooseShared, shared);
    add_chunks(p, shared, 2);
    const int i = thread_in_block(), rows = p.channels + 1;
    if (i >= p.channels) return;
    const Pair mine = shared.sums[i], my_place = shared.sums[rows + i];
    int before = 0;
    for (int j = 0; j < p.channels; ++j) {
        const Pair other = shared.sums[j], place = shared.sums[rows + j];
        if (j == i || !(other.first > 0.0) || !(mine.first > 0.0)) continue;
        int order = compare_means(place.first, other.second, my_place.first, mine.second);
        if (order == 0) order = compare_means(place.second, other.second, my_place.second, mine.second);
        before += order < 0 || (order == 0 && j < i);
    }
    p.chosen[int64_t{blockIdx.x} * p.channels + i] = mine.first > 0.0 ? before : -1;
}

/// `N` neighbouring elements of a row.
template <int N>
__device__ __forceinline__ void assign_target(const AssignTargetParameters& p) {
    const Place at = place_in(p.rows);
    if (at.item >= static_cast<uint32_t>(p.rows.items)) return;
    const int64_t row = int64_t{at.row} * p.w;
    const int32_t* chosen = p.chosen + int64_t{at.row / p.h} * p.channels;
    int x = at.item * N / p.channels, channel = at.item * N % p.channels;
    Vector<float, N> target;
#pragma unroll
    for (int k = 0; k < N; ++k) {
        const int instance = instance_of(p.labels[row + x], p.channels);
        target.v[k] = instance >= 0 && chosen[instance] == channel ? 1.0f : 0.0f;
        if (++channel == p.channels) {
            channel = 0;
            ++x;
        }
    }
    store_vector<N>(p.target + row * p.channels + int64_t{at.item} * N, target);
}

KERNEL(assign_target, ROW_THREADS, AssignTargetParameters) {
    if (int64_t{p.w} * p.channels % VECTOR<float> == 0) {
        assign_target<VECTOR<float>>(p);
    } else {
        assign_target<1>(p);
    }
}
