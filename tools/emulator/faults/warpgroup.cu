// A product of a warpgroup, of small whole numbers, and what can be forgotten around it.
#include "faults.cuh"
#include "warpgroup.cuh"

#if HAS_WARPGROUPS

struct Products {
    Rows<64> b;
};

enum class Mistake { NONE, NO_PROXY_FENCE, PROXY_FENCE_BEFORE_BARRIER, NO_FENCE, NO_WAIT, OVERWRITTEN, NO_COMMIT };

/// C = A B of 64 x 64 x 16 by registers of A and B in shared memory; writes how far an element of each thread is off.
template <Mistake MISTAKE>
__device__ void product(const Parameters& p) {
    LARGE_SHARED(Products, shared);
    const int thread = thread_in_block(), lane = lane_in_warp(), warp = warp_in_block();
    const auto of_b = [](int k, int column) { return static_cast<f16>(float((k * 5 + column) % 7 - 3)); };
    if (MISTAKE == Mistake::PROXY_FENCE_BEFORE_BARRIER && thread != 0) acquire_for_products();
    if (thread < 64) {
        for (int line = 0; line < ROW_LINES; ++line) {
            Vector<f16> channels;
            for (int e = 0; e < 8; ++e) channels.v[e] = of_b(thread, line * 8 + e);
            store_vector<8>(shared.b.at(thread, line)->v, channels);
        }
    }
    __syncthreads();
    if (MISTAKE != Mistake::NO_PROXY_FENCE && MISTAKE != Mistake::PROXY_FENCE_BEFORE_BARRIER) acquire_for_products();
    const auto of_a = [](int row, int k) { return float((row + 3 * k) % 5 - 2); };
    uint32_t a[4];
    for (int i = 0; i < 4; ++i) {
        const int row = warp * 16 + lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
        a[i] = pack_halves(of_a(row, k), of_a(row, k + 1));
    }
    float c[32] = {};
    if (MISTAKE != Mistake::NO_FENCE) begin_products();
    multiply_64x64(c, a, operand(shared.b, 0, 0, SWIZZLE_ROWS));
    if (MISTAKE != Mistake::NO_COMMIT) commit_products();
    if (MISTAKE == Mistake::OVERWRITTEN) {
        __syncthreads();
        if (thread == 0) store_vector<8>(shared.b.at(0, 0)->v, Vector<f16>{});
        __syncthreads();
        acquire_for_products();
    }
    if (MISTAKE != Mistake::NO_WAIT) wait_products<0>();
    float expected = 0;
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    for (int k = 0; k < 16; ++k) expected += of_a(row, k) * static_cast<float>(of_b(k, column));
    p.out[int64_t{blockIdx.x} * WARPGROUP + thread] = c[0] - expected;
}

#define PRODUCT(name, mistake) \
    KERNEL(name, WARPGROUP, Parameters) { product<Mistake::mistake>(p); }

PRODUCT(product_sound, NONE)
PRODUCT(product_without_proxy_fence, NO_PROXY_FENCE)
PRODUCT(product_with_early_proxy_fence, PROXY_FENCE_BEFORE_BARRIER)
PRODUCT(product_without_fence, NO_FENCE)
PRODUCT(product_without_wait, NO_WAIT)
PRODUCT(product_without_commit, NO_COMMIT)
PRODUCT(product_overwritten, OVERWRITTEN)

#endif
