// y = x in another type. Formulae: src/ops/cast.rs.
#include <type_traits>

#include "elementwise.cuh"

struct CastParameters {
    const void* x;
    void* y;
    int64_t count;
};
static_assert(sizeof(CastParameters) == 24);

/// A thread's elements fill sixteen bytes of the wider type, so that both sides are read and written without gaps.
template <typename From, typename To>
__device__ __forceinline__ void cast(const CastParameters& p) {
    using Wider = std::conditional_t<(sizeof(From) > sizeof(To)), From, To>;
    constexpr int N = VECTOR<Wider>;
    const From* x = static_cast<const From*>(p.x);
    To* y = static_cast<To*>(p.y);
    for_each_element<Wider>(
        p.count,
        [&](int64_t i) {
            const auto from = load_vector<N>(x + i);
            Vector<To, N> out;
#pragma unroll
            for (int k = 0; k < N; ++k) out.v[k] = from_float<To>(to_float(from.v[k]));
            store_vector<N>(y + i, out);
        },
        [&](int64_t i) { y[i] = from_float<To>(to_float(x[i])); });
}

KERNEL(cast_f32_to_f32, ELEMENTWISE_THREADS, CastParameters) { cast<float, float>(p); }
KERNEL(cast_f32_to_f16, ELEMENTWISE_THREADS, CastParameters) { cast<float, f16>(p); }
KERNEL(cast_f16_to_f32, ELEMENTWISE_THREADS, CastParameters) { cast<f16, float>(p); }
KERNEL(cast_f16_to_f16, ELEMENTWISE_THREADS, CastParameters) { cast<f16, f16>(p); }
