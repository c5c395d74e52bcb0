// y[i] = sum over parts of partials[part][i], in the order of the parts: the end of every sum that is split among blocks.
#include "elementwise.cuh"

/// Twin: `SumPartialsParameters` in src/backend/cuda/weight_grad.rs.
struct SumPartialsParameters {
    const float* partials;
    float* y;
    int64_t count;
    int64_t parts;
};
static_assert(sizeof(SumPartialsParameters) == 32);

/// The sums of V neighbours from `from` on, one element in `count` a part.
template <int V>
__device__ __forceinline__ Vector<float, V> sum_parts(const float* from, int64_t count, int64_t parts) {
    Vector<float, V> sum = {};
    // Loads of several parts at once; they are added in their order all the same.
#pragma unroll 8
    for (int64_t part = 0; part < parts; ++part) {
        const auto v = load_vector<V>(from + part * count);
#pragma unroll
        for (int k = 0; k < V; ++k) sum.v[k] += v.v[k];
    }
    return sum;
}

KERNEL(sum_partials_f32, ELEMENTWISE_THREADS, SumPartialsParameters) {
    const auto one_by_one = [&](int64_t i) { p.y[i] = sum_parts<1>(p.partials + i, p.count, p.parts).v[0]; };
    // A part need not start at a multiple of sixteen bytes.
    const bool aligned = p.count % VECTOR<float> == 0;
    for_each_element<float>(
        p.count,
        [&](int64_t i) {
            if (aligned) {
                store_vector<VECTOR<float>>(p.y + i, sum_parts<VECTOR<float>>(p.partials + i, p.count, p.parts));
            } else {
                for (int k = 0; k < VECTOR<float>; ++k) one_by_one(i + k);
            }
        },
        one_by_one);
}
