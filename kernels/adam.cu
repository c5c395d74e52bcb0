// Adam. Formulae: src/ops/adam.rs.
#include "elementwise.cuh"

struct AdamParameters {
    const float* g;
    const float* schedule;  // [lr, c1, c2, 1 / loss scale]
    const float* overflow;  // One number, or null.
    float* parameter;
    float* m;
    float* v;
    int64_t count;
    float beta1, beta2, eps;
    int32_t padding;
};
static_assert(sizeof(AdamParameters) == 72);

KERNEL(adam, ELEMENTWISE_THREADS, AdamParameters) {
    if (p.overflow && *p.overflow != 0.0f) return;
    const auto schedule = load_vector<4>(p.schedule);
    const float rate = schedule.v[0] * schedule.v[1], c2 = schedule.v[2], unscale = schedule.v[3];
    const auto update = [&](float scaled, float& parameter, float& m, float& v) {
        const float g = scaled * unscale;
        m = fmaf(m, p.beta1, g * (1.0f - p.beta1));
        v = fmaf(v, p.beta2, g * g * (1.0f - p.beta2));
        parameter -= m * rate / (sqrtf(v * c2) + p.eps);
    };
    for_each_element<float>(
        p.count,
        [&](int64_t i) {
            const auto g = load_vector<4>(p.g + i);
            auto parameter = load_vector<4>(p.parameter + i), m = load_vector<4>(p.m + i), v = load_vector<4>(p.v + i);
#pragma unroll
            for (int k = 0; k < 4; ++k) update(g.v[k], parameter.v[k], m.v[k], v.v[k]);
            store_vector<4>(p.parameter + i, parameter);
            store_vector<4>(p.m + i, m);
            store_vector<4>(p.v + i, v);
        },
        [&](int64_t i) { update(p.g[i], p.parameter[i], p.m[i], p.v[i]); });
}
