// Concatenation over channels and the split. Formulae: src/ops/concat.rs.
#include "rows.cuh"

struct ConcatParameters {
    void* a;      // [N, H, W, Ca]
    void* b;      // [N, H, W, Cb]
    void* whole;  // [N, H, W, Ca + Cb]
    Rows rows;    // A row: (n, y). An item: (x, channels of the whole).
    int32_t ca, cb;
    int32_t w;
    int32_t padding;
};
static_assert(sizeof(ConcatParameters) == 48);

/// Moves `N` channels of one pixel: into the whole, or out of it.
template <bool IS_SPLIT, int N, typename T>
__device__ __forceinline__ void move(const ConcatParameters& p) {
    const Place at = place_in(p.rows);
    if (at.item >= static_cast<uint32_t>(p.rows.items)) return;
    const int groups = (p.ca + p.cb) / N, x = at.item / groups, c = at.item % groups * N;
    const int64_t pixel = int64_t{at.row} * p.w + x;
    T* part = c < p.ca ? static_cast<T*>(p.a) + pixel * p.ca + c : static_cast<T*>(p.b) + pixel * p.cb + (c - p.ca);
    T* whole = static_cast<T*>(p.whole) + pixel * (p.ca + p.cb) + c;
    store_vector<N>(IS_SPLIT ? part : whole, load_vector<N>(IS_SPLIT ? whole : part));
}

template <bool IS_SPLIT, typename T>
__device__ __forceinline__ void move(const ConcatParameters& p) {
    if (p.ca % VECTOR<T> == 0 && p.cb % VECTOR<T> == 0) {
        move<IS_SPLIT, VECTOR<T>, T>(p);
    } else {
        move<IS_SPLIT, 1, T>(p);
    }
}

KERNEL(concat_f32, ROW_THREADS, ConcatParameters) { move<false, float>(p); }
KERNEL(concat_f16, ROW_THREADS, ConcatParameters) { move<false, f16>(p); }
KERNEL(split_f32, ROW_THREADS, ConcatParameters) { move<true, float>(p); }
KERNEL(split_f16, ROW_THREADS, ConcatParameters) { move<true, f16>(p); }
