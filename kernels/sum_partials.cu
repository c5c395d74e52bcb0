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

KERNEL(sum_partials_f32, ELEMENTWISE_THREADS, SumPartialsParameters) {
    for_each_element<float>(
        p.count,
        [&](int64_t i) {
            // A part need not start at a multiple of sixteen bytes.
            const bool aligned = p.count % VECTOR<float> == 0;
            Vector<float> sum = {};
            for (int64_t part = 0; part < p.parts; ++part) {
                const float* from = p.partials + part * p.count + i;
#pragma unroll
                for (int k = 0; k < VECTOR<float>; ++k) {
                    if (!aligned) sum.v[k] += from[k];
                }
                if (aligned) {
                    const auto v = load_vector<VECTOR<float>>(from);
#pragma unroll
                    for (int k = 0; k < VECTOR<float>; ++k) sum.v[k] += v.v[k];
                }
            }
            store_vector<VECTOR<float>>(p.y + i, sum);
        },
        [&](int64_t i) {
            float sum = 0.0f;
            for (int64_t part = 0; part < p.parts; ++part) sum += p.partials[part * p.count + i];
            p.y[i] = sum;
        });
}
