// y[c] = the sum of x[.., c] over all pixels. Formula: src/ops/channel_sum.rs.
#include "columns.cuh"

struct ChannelSumParameters {
    const void* x;      // [pixels][channels]
    float* partials;    // [chunk][channels]
    ColumnCut cut;
};
static_assert(sizeof(ChannelSumParameters) == 40);

struct ChannelSumCombineParameters {
    const float* partials;  // [chunk][channels]
    float* y;               // [channels]
    ColumnCut cut;
};
static_assert(sizeof(ChannelSumCombineParameters) == 40);

template <typename T, int V>
struct Values {
    using Loaded = Vector<T, V>;

    const T* x;

    __device__ __forceinline__ Loaded load(int64_t at) const { return load_vector<V>(x + at); }

    __device__ __forceinline__ void add(float (&sums)[V], const Loaded& values) const {
#pragma unroll
        for (int v = 0; v < V; ++v) sums[v] += to_float(values.v[v]);
    }
};

template <typename T, int V>
__device__ __forceinline__ void sum_channels(const ChannelSumParameters& p, float* shared) {
    const Values<T, V> values{static_cast<const T*>(p.x)};
    sum_columns<1>(p.cut, ColumnPart<V>(p.cut), values, shared, p.partials);
}

template <typename T>
__device__ __forceinline__ void sum_channels(const ChannelSumParameters& p, float* shared) {
    if (is_vectorised<T>(p.cut)) {
        sum_channels<T, VECTOR<T>>(p, shared);
    } else {
        sum_channels<T, 1>(p, shared);
    }
}

template <typename T>
struct SharedSums {
    float sums[COLUMN_SHARED<1, VECTOR<T>>];
};

KERNEL(channel_sum_f32, COLUMN_THREADS, ChannelSumParameters) {
    SHARED(SharedSums<float>, shared);
    sum_channels<float>(p, shared.sums);
}

KERNEL(channel_sum_f16, COLUMN_THREADS, ChannelSumParameters) {
    SHARED(SharedSums<f16>, shared);
    sum_channels<f16>(p, shared.sums);
}

struct SharedTotals {
    double sums[COLUMN_SHARED<1, 1>];
};

KERNEL(channel_sum_combine, COLUMN_THREADS, ChannelSumCombineParameters) {
    SHARED(SharedTotals, shared);
    combine_columns<1>(p.cut, p.partials, shared.sums, AddTerms{},
                       [&](int channel, const double(&sums)[1]) { p.y[channel] = static_cast<float>(sums[0]); });
}
