// The gradients of batch normalisation. Formulae: src/ops/batch_norm.rs.
#include "batch_norm.cuh"

struct GradReduceParameters {
    const void* dy;     // [pixels][channels]
    const void* x;      // [pixels][channels]
    const float* mean;  // [channels]
    // Where what ReLU wrote or saw is not positive, dy does not count: y, or gamma xhat + beta. What is not needed is null.
    const void* y;       // [pixels][channels], or null
    const float* var;    // [channels]
    const float* gamma;  // [channels], or null
    const float* beta;   // [channels], or null
    float* partials;     // [chunk][2][channels]
    ColumnCut cut;
    float eps;
    int32_t padding;
};
static_assert(sizeof(GradReduceParameters) == 96);

struct GradReduceCombineParameters {
    const float* partials;  // [chunk][2][channels]
    const float* var;       // [channels]
    float* dgamma;          // [channels]
    float* dbeta;           // [channels]
    ColumnCut cut;
    float eps;
    int32_t padding;
};
static_assert(sizeof(GradReduceCombineParameters) == 64);

/// Where dy counts: where y is positive, or everywhere if it is null.
template <typename T, int V, bool NORMALISED>
struct Gate {
    using Loaded = Vector<T, V>;

    const T* y;

    template <typename P>
    __device__ __forceinline__ Gate(const P& p, int) : y(static_cast<const T*>(p.y)) {}

    __device__ __forceinline__ Loaded load(int64_t at) const {
        if (y) return load_vector<V>(y + at);
        Loaded ones;
#pragma unroll
        for (int v = 0; v < V; ++v) ones.v[v] = from_float<T>(1);
        return ones;
    }

    __device__ __forceinline__ bool passes(const Loaded& of_y, int v, float) const { return to_float(of_y.v[v]) > 0; }
};

/// Where the normalised value is positive, which ReLU saw: nothing is loaded.
template <typename T, int V>
struct Gate<T, V, true> {
    struct Loaded {};

    Floats<V> scale, beta;

    template <typename P>
    __device__ __forceinline__ Gate(const P& p, int channel)
        : scale(load_floats<V>(p.gamma + channel)), beta(load_floats<V>(p.beta + channel)) {
        const auto inverse = inverse_deviation<V>(p.var + channel, p.eps);
#pragma unroll
        for (int v = 0; v < V; ++v) scale.v[v] *= inverse.v[v];
    }

    __device__ __forceinline__ Loaded load(int64_t) const { return {}; }

    __device__ __forceinline__ bool passes(const Loaded&, int v, float centred) const {
        return normalised(centred, scale.v[v], beta.v[v]) > 0;
    }
};

/// dz and dz (x - mean).
template <typename T, int V, bool NORMALISED>
struct GradTerms {
    struct Loaded {
        Vector<T, V> dy, x;
        typename Gate<T, V, NORMALISED>::Loaded of_gate;
    };

    const T* dy;
    const T* x;
    Floats<V> mean;
    Gate<T, V, NORMALISED> gate;

    __device__ __forceinline__ GradTerms(const GradReduceParameters& p, const ColumnPart<V>& part)
        : dy(static_cast<const T*>(p.dy)),
          x(static_cast<const T*>(p.x)),
          mean(load_floats<V>(p.mean + part.channel)),
          gate(p, part.channel) {}

    __device__ __forceinline__ Loaded load(int64_t at) const {
        return {load_vector<V>(dy + at), load_vector<V>(x + at), gate.load(at)};
    }

    __device__ __forceinline__ void add(float (&sums)[2 * V], const Loaded& loaded) const {
#pragma unroll
        for (int v = 0; v < V; ++v) {
            const float centred = to_float(loaded.x.v[v]) - mean.v[v];
            const float dz = gate.passes(loaded.of_gate, v, centred) ? to_float(loaded.dy.v[v]) : 0.0f;
            sums[v] += dz;
            sums[V + v] += dz * centred;
        }
    }
};

template <typename T, int V>
__device__ __forceinline__ void sum_grad_terms(const GradReduceParameters& p, float* shared) {
    const ColumnPart<V> part(p.cut);
    if (p.beta) {
        sum_columns<2>(p.cut, part, GradTerms<T, V, true>(p, part), shared, p.partials);
    } else {
        sum_columns<2>(p.cut, part, GradTerms<T, V, false>(p, part), shared, p.partials);
    }
}

template <typename T>
struct SharedSums {
    float sums[COLUMN_SHARED<2, VECTOR<T>>];
};

template <typename T>
__device__ __forceinline__ void grad_reduce(const GradReduceParameters& p, SharedSums<T>& shared) {
    if (is_vectorised<T>(p.cut)) {
        sum_grad_terms<T, VECTOR<T>>(p, shared.sums);
    } else {
        sum_grad_terms<T, 1>(p, shared.sums);
    }
}

KERNEL(batch_norm_grad_reduce_f32, COLUMN_THREADS, GradReduceParameters) {
    SHARED(SharedSums<float>, shared);
    grad_reduce<float>(p, shared);
}

KERNEL(batch_norm_grad_reduce_f16, COLUMN_THREADS, GradReduceParameters) {
    SHARED(SharedSums<f16>, shared);
    grad_reduce<f16>(p, shared);
}

struct SharedTotals {
    double sums[COLUMN_SHARED<2, 1>];
};

KERNEL(batch_norm_grad_reduce_combine, COLUMN_THREADS, GradReduceCombineParameters) {
    SHARED(SharedTotals, shared);
    combine_columns<2>(p.cut, p.partials, shared.sums, AddTerms{}, [&](int channel, const double(&sums)[2]) {
        p.dbeta[channel] = static_cast<float>(sums[0]);
        p.dgamma[channel] = static_cast<float>(sums[1] / sqrt(static_cast<double>(p.var[channel] + p.eps)));
    });
}

struct GradApplyParameters {
    const void* dy;       // [pixels][channels]
    const void* x;        // [pixels][channels]
    const float* mean;    // [channels]
    const float* var;     // [channels]
    const float* gamma;   // [channels]
    const float* dgamma;  // [channels]
    const float* dbeta;   // [channels]
    const void* y;        // [pixels][channels], or null: as GradReduceParameters have it
    const float* beta;    // [channels], or null
    void* dx;             // [pixels][channels]
    void* dresidual;      // [pixels][channels], or null
    ColumnCut cut;
    float eps;
    float count;  // M
};
static_assert(sizeof(GradApplyParameters) == 120);

/// dx = scale dz - (offset + slope (x - mean)) with numbers of V channels.
template <int V>
struct GradLine {
    Floats<V> mean, scale, offset, slope;

    __device__ __forceinline__ GradLine(const GradApplyParameters& p, int channel)
        : mean(load_floats<V>(p.mean + channel)), scale(load_floats<V>(p.gamma + channel)), offset(load_floats<V>(p.dbeta + channel)), slope(load_floats<V>(p.dgamma + channel)) {
        const auto inverse = inverse_deviation<V>(p.var + channel, p.eps);
        const float share = 1.0f / p.count;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            scale.v[v] *= inverse.v[v];
            offset.v[v] *= scale.v[v] * share;
            slope.v[v] *= scale.v[v] * inverse.v[v] * share;
        }
    }
};

template <typename T, int V, bool NORMALISED>
__device__ __forceinline__ void grad_apply(const GradApplyParameters& p) {
    const ColumnPart<V> part(p.cut);
    const Gate<T, V, NORMALISED> gate(p, part.channel);
    const T* dy = static_cast<const T*>(p.dy);
    const T* x = static_cast<const T*>(p.x);
    T* dx = static_cast<T*>(p.dx);
    T* dresidual = static_cast<T*>(p.dresidual);
    Vector<T, V> of_dz[COLUMN_BATCH], of_x[COLUMN_BATCH];
    typename Gate<T, V, NORMALISED>::Loaded of_gate[COLUMN_BATCH];
    part.for_batch(p.cut, [&](int i, int64_t at) {
        of_dz[i] = load_vector<V>(dy + at);
        of_x[i] = load_vector<V>(x + at);
        of_gate[i] = gate.load(at);
    });
    const GradLine<V> line(p, part.channel);
    part.for_batch(p.cut, [&](int i, int64_t at) {
        Vector<T, V> out;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            const float centred = to_float(of_x[i].v[v]) - line.mean.v[v];
            if (!gate.passes(of_gate[i], v, centred)) of_dz[i].v[v] = from_float<T>(0);
            const float through_statistics = line.offset.v[v] + line.slope.v[v] * centred;
            out.v[v] = from_float<T>(line.scale.v[v] * to_float(of_dz[i].v[v]) - through_statistics);
        }
        store_vector<V>(dx + at, out);
        if (dresidual) store_vector<V>(dresidual + at, of_dz[i]);
    });
}

template <typename T, int V>
__device__ __forceinline__ void grad_apply(const GradApplyParameters& p) {
    if (p.beta) {
        grad_apply<T, V, true>(p);
    } else {
        grad_apply<T, V, false>(p);
    }
}

template <typename T>
__device__ __forceinline__ void grad_apply(const GradApplyParameters& p) {
    if (is_vectorised<T>(p.cut)) {
        grad_apply<T, VECTOR<T>>(p);
    } else {
        grad_apply<T, 1>(p);
    }
}

KERNEL(batch_norm_grad_apply_f32, COLUMN_THREADS, GradApplyParameters) { grad_apply<float>(p); }
KERNEL(batch_norm_grad_apply_f16, COLUMN_THREADS, GradApplyParameters) { grad_apply<f16>(p); }
