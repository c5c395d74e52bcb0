// Batch normalisation: statistics, running statistics and their application. Formulae: src/ops/batch_norm.rs.
#include "batch_norm.cuh"

struct StatisticsParameters {
    const void* x;    // [pixels][channels]
    float* partials;  // [chunk][2][channels]
    ColumnCut cut;
};
static_assert(sizeof(StatisticsParameters) == 40);

struct StatisticsCombineParameters {
    const void* x;          // [pixels][channels]
    const float* partials;  // [chunk][2][channels]
    float* mean;            // [channels]
    float* var;             // [channels]
    ColumnCut cut;
};
static_assert(sizeof(StatisticsCombineParameters) == 56);

/// The pixel of a chunk by which it is shifted, so that a large mean costs the variance no digits. The first pixel would often lie on the
/// image's edge, where the zeros around it have a say: lines have powers of two of pixels, and so have chunks.
__device__ __forceinline__ int64_t shift_of(const ColumnCut& cut, int64_t chunk) {
    return cut.start(chunk) + (cut.end(chunk) - cut.start(chunk)) / 3;
}

/// x - shift and its square.
template <typename T, int V>
struct Moments {
    using Loaded = Vector<T, V>;

    const T* x;
    Floats<V> shift;

    __device__ __forceinline__ Moments(const StatisticsParameters& p, const ColumnPart<V>& part) : x(static_cast<const T*>(p.x)) {
        const auto pixel = load_vector<V>(x + shift_of(p.cut, blockIdx.x) * p.cut.channels + part.channel);
#pragma unroll
        for (int v = 0; v < V; ++v) shift.v[v] = to_float(pixel.v[v]);
    }

    __device__ __forceinline__ Loaded load(int64_t at) const { return load_vector<V>(x + at); }

    __device__ __forceinline__ void add(float (&sums)[2 * V], const Loaded& values) const {
#pragma unroll
        for (int v = 0; v < V; ++v) {
            const float d = to_float(values.v[v]) - shift.v[v];
            sums[v] += d;
            sums[V + v] += d * d;
        }
    }
};

template <typename T, int V>
__device__ __forceinline__ void sum_moments(const StatisticsParameters& p, float* shared) {
    const ColumnPart<V> part(p.cut);
    sum_columns<2>(p.cut, part, Moments<T, V>(p, part), shared, p.partials);
}

template <typename T>
struct SharedSums {
    float sums[COLUMN_SHARED<2, VECTOR<T>>];
};

template <typename T>
__device__ __forceinline__ void statistics(const StatisticsParameters& p, SharedSums<T>& shared) {
    if (is_vectorised<T>(p.cut)) {
        sum_moments<T, VECTOR<T>>(p, shared.sums);
    } else {
        sum_moments<T, 1>(p, shared.sums);
    }
}

KERNEL(batch_norm_statistics_f32, COLUMN_THREADS, StatisticsParameters) {
    SHARED(SharedSums<float>, shared);
    statistics<float>(p, shared);
}

KERNEL(batch_norm_statistics_f16, COLUMN_THREADS, StatisticsParameters) {
    SHARED(SharedSums<f16>, shared);
    statistics<f16>(p, shared);
}

/// As Chan, Golub and LeVeque (1983) combine moments, without their divisions: every chunk is moved from its own shift to the first
/// chunk's, which f64 does without loss.
template <typename T>
__device__ __forceinline__ void combine_statistics(const StatisticsCombineParameters& p, double* shared) {
    const T* x = static_cast<const T*>(p.x);
    const auto shift = [&](int64_t chunk, int channel) {
        return static_cast<double>(to_float(x[shift_of(p.cut, chunk) * p.cut.channels + channel]));
    };
    combine_columns<2>(
        p.cut, p.partials, shared,
        [&](double(&sums)[2], const float(&terms)[2], int chunk, int channel) {
            const double n = static_cast<double>(p.cut.end(chunk) - p.cut.start(chunk));
            const double move = shift(chunk, channel) - shift(0, channel), d = terms[0], d2 = terms[1];
            sums[0] += d + n * move;
            sums[1] += d2 + move * (2 * d + n * move);
        },
        [&](int channel, const double(&sums)[2]) {
            const double n = static_cast<double>(p.cut.pixels), mean = sums[0] / n, var = (sums[1] - sums[0] * mean) / n;
            p.mean[channel] = static_cast<float>(shift(0, channel) + mean);
            p.var[channel] = var < 0 ? 0.0f : static_cast<float>(var);  // Not fmax, which would hide what is not a number.
        });
}

struct SharedTotals {
    double sums[COLUMN_SHARED<2, 1>];
};

KERNEL(batch_norm_statistics_combine_f32, COLUMN_THREADS, StatisticsCombineParameters) {
    SHARED(SharedTotals, shared);
    combine_statistics<float>(p, shared.sums);
}

KERNEL(batch_norm_statistics_combine_f16, COLUMN_THREADS, StatisticsCombineParameters) {
    SHARED(SharedTotals, shared);
    combine_statistics<f16>(p, shared.sums);
}

struct UpdateParameters {
    const float* mean;      // [channels]
    const float* var;       // [channels]
    const float* overflow;  // [1], or null
    float* running_mean;    // [channels]
    float* running_var;     // [channels]
    int32_t channels;
    float momentum;
    float var_momentum;  // The momentum times M / (M - 1).
    int32_t padding;
};
static_assert(sizeof(UpdateParameters) == 56);

KERNEL(batch_norm_update, COLUMN_THREADS, UpdateParameters) {
    const int c = static_cast<int>(blockIdx.x) * COLUMN_THREADS + thread_in_block();
    if (c >= p.channels || (p.overflow && *p.overflow != 0)) return;
    p.running_mean[c] = (1 - p.momentum) * p.running_mean[c] + p.momentum * p.mean[c];
    p.running_var[c] = (1 - p.momentum) * p.running_var[c] + p.var_momentum * p.var[c];
}

struct ApplyParameters {
    const void* x;         // [pixels][channels]
    const float* mean;     // [channels]
    const float* var;      // [channels]
    const float* gamma;    // [channels]
    const float* beta;     // [channels]
    const void* residual;  // [pixels][channels], or null
    void* y;               // [pixels][channels]
    ColumnCut cut;
    float eps;
    int32_t relu;
};
static_assert(sizeof(ApplyParameters) == 88);

template <typename T, int V>
__device__ __forceinline__ void apply(const ApplyParameters& p) {
    const ColumnPart<V> part(p.cut);
    const T* x = static_cast<const T*>(p.x);
    const T* residual = static_cast<const T*>(p.residual);
    T* y = static_cast<T*>(p.y);
    Vector<T, V> of_x[COLUMN_BATCH], of_residual[COLUMN_BATCH];
    part.for_batch(p.cut, [&](int i, int64_t at) {
        of_x[i] = load_vector<V>(x + at);
        if (residual) of_residual[i] = load_vector<V>(residual + at);
    });
    const auto mean = load_floats<V>(p.mean + part.channel), beta = load_floats<V>(p.beta + part.channel);
    const auto gamma = load_floats<V>(p.gamma + part.channel), inverse = inverse_deviation<V>(p.var + part.channel, p.eps);
    part.for_batch(p.cut, [&](int i, int64_t at) {
        Vector<T, V> out;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            float z = normalised(to_float(of_x[i].v[v]) - mean.v[v], gamma.v[v] * inverse.v[v], beta.v[v]);
            if (residual) z += to_float(of_residual[i].v[v]);
            out.v[v] = from_float<T>(p.relu && z < 0 ? 0.0f : z);  // What is not a number stays so.
        }
        store_vector<V>(y + at, out);
    });
}

template <typename T>
__device__ __forceinline__ void apply(const ApplyParameters& p) {
    if (is_vectorised<T>(p.cut)) {
        apply<T, VECTOR<T>>(p);
    } else {
        apply<T, 1>(p);
    }
}

KERNEL(batch_norm_apply_f32, COLUMN_THREADS, ApplyParameters) { apply<float>(p); }
KERNEL(batch_norm_apply_f16, COLUMN_THREADS, ApplyParameters) { apply<f16>(p); }
