// Max-pooling 2x2 and its gradient. Formulae: src/ops/max_pool2d.rs.
//
// A thread does one window for as many channels as one load holds. Channels that do not fill loads are done one by one.
#include "rows.cuh"

struct MaxPool2dParameters {
    const void* x;    // [N, H, W, C]
    void* y;          // [N, H/2, W/2, C]
    uint8_t* argmax;  // [N, H/2, W/2, C]
    Rows rows;        // A row: (n, oy). An item: (ox, channels).
    int32_t h, w, c;
    int32_t padding;
};
static_assert(sizeof(MaxPool2dParameters) == 48);

struct MaxPool2dGradParameters {
    const void* dy;         // [N, H/2, W/2, C]
    const uint8_t* argmax;  // [N, H/2, W/2, C]
    void* dx;               // [N, H, W, C]
    Rows rows;              // As above, with a window for an odd last row or column.
    int32_t h, w, c;
    int32_t padding;
};
static_assert(sizeof(MaxPool2dGradParameters) == 48);

template <typename T, int N>
__device__ __forceinline__ void max_pool2d(const MaxPool2dParameters& p) {
    const Place at = place_in(p.rows);
    if (at.item >= static_cast<uint32_t>(p.rows.items)) return;
    const int groups = p.c / N, ox = at.item / groups, c = at.item % groups * N;
    const int oh = p.h / 2, ow = p.w / 2, n = at.row / oh, oy = at.row % oh;
    const int64_t line = int64_t{p.w} * p.c;
    const T* x = static_cast<const T*>(p.x) + ((int64_t{n} * p.h + 2 * oy) * p.w + 2 * ox) * p.c + c;
    const Vector<T, N> taps[4] = {load_vector<N>(x), load_vector<N>(x + p.c), load_vector<N>(x + line), load_vector<N>(x + line + p.c)};
    Vector<T, N> best = taps[0];
    Vector<uint8_t, N> index{};
#pragma unroll
    for (int k = 1; k < 4; ++k) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const float tap = to_float(taps[k].v[i]), most = to_float(best.v[i]);
            // The first NaN is the largest of all.
            if (tap > most || (tap != tap && most == most)) {
                best.v[i] = taps[k].v[i];
                index.v[i] = k;
            }
        }
    }
    const int64_t to = (int64_t{at.row} * ow + ox) * p.c + c;
    store_vector<N>(static_cast<T*>(p.y) + to, best);
    store_vector<N>(p.argmax + to, index);
}

template <typename T, int N>
__device__ __forceinline__ void max_pool2d_grad(const MaxPool2dGradParameters& p) {
    const Place at = place_in(p.rows);
    if (at.item >= static_cast<uint32_t>(p.rows.items)) return;
    const int groups = p.c / N, ox = at.item / groups, c = at.item % groups * N;
    const int windows = ceil_div(p.h, 2), n = at.row / windows, oy = at.row % windows;
    const int oh = p.h / 2, ow = p.w / 2;
    const bool is_pooled = oy < oh && ox < ow;
    Vector<T, N> dy{};
    Vector<uint8_t, N> argmax{};
    if (is_pooled) {
        const int64_t from = ((int64_t{n} * oh + oy) * ow + ox) * p.c + c;
        dy = load_vector<N>(static_cast<const T*>(p.dy) + from);
        argmax = load_vector<N>(p.argmax + from);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int y = 2 * oy + k / 2, x = 2 * ox + k % 2;
        if (y >= p.h || x >= p.w) continue;
        Vector<T, N> dx;
#pragma unroll
        for (int i = 0; i < N; ++i) dx.v[i] = argmax.v[i] == k ? dy.v[i] : from_float<T>(0.0f);
        store_vector<N>(static_cast<T*>(p.dx) + ((int64_t{n} * p.h + y) * p.w + x) * p.c + c, dx);
    }
}

template <typename T>
__device__ __forceinline__ void max_pool2d(const MaxPool2dParameters& p) {
    if (p.c % VECTOR<T> == 0) {
        max_pool2d<T, VECTOR<T>>(p);
    } else {
        max_pool2d<T, 1>(p);
    }
}

template <typename T>
__device__ __forceinline__ void max_pool2d_grad(const MaxPool2dGradParameters& p) {
    if (p.c % VECTOR<T> == 0) {
        max_pool2d_grad<T, VECTOR<T>>(p);
    } else {
        max_pool2d_grad<T, 1>(p);
    }
}

KERNEL(max_pool2d_f32, ROW_THREADS, MaxPool2dParameters) { max_pool2d<float>(p); }
KERNEL(max_pool2d_f16, ROW_THREADS, MaxPool2dParameters) { max_pool2d<f16>(p); }
KERNEL(max_pool2d_grad_f32, ROW_THREADS, MaxPool2dGradParameters) { max_pool2d_grad<float>(p); }
KERNEL(max_pool2d_grad_f16, ROW_THREADS, MaxPool2dGradParameters) { max_pool2d_grad<f16>(p); }
