// y = a + b. Formulae: src/ops/add.rs.
#include "elementwise.cuh"

struct AddParameters {
    const void* a;
    const void* b;
    void* y;
    int64_t count;
};
static_assert(sizeof(AddParameters) == 32);

template <typename T>
__device__ __forceinline__ void add(const AddParameters& p) {
    const T* a = static_cast<const T*>(p.a);
    const T* b = static_cast<const T*>(p.b);
    T* y = static_cast<T*>(p.y);
    const auto sum = [](T a, T b) { return from_float<T>(to_float(a) + to_float(b)); };
    for_each_element<T>(
        p.count,
        [&](int64_t i) {
            const auto va = load_vector<VECTOR<T>>(a + i), vb = load_vector<VECTOR<T>>(b + i);
            Vector<T> out;
#pragma unroll
            for (int k = 0; k < VECTOR<T>; ++k) out.v[k] = sum(va.v[k], vb.v[k]);
            store_vector<VECTOR<T>>(y + i, out);
        },
        [&](int64_t i) { y[i] = sum(a[i], b[i]); });
}

KERNEL(add_f32, ELEMENTWISE_THREADS, AddParameters) { add<float>(p); }
KERNEL(add_f16, ELEMENTWISE_THREADS, AddParameters) { add<f16>(p); }
