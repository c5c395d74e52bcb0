// Matrix instructions on plain matrices. Where an element of a matrix lies is written here from the tables of the PTX ISA ("The row and
// column of a matrix fragment can be computed as ..."), and not from the emulator.
#include "faults.cuh"

struct MatrixParameters {
    const f16* a;    // [M][K]
    const f16* b;    // [K][N]
    const float* c;  // [M][N]
    float* d;        // [M][N]: A B + C
};
static_assert(sizeof(MatrixParameters) == 32);

/// A register of two elements, the lower half first.
__device__ __forceinline__ uint32_t pair(f16 low, f16 high) {
    const f16 both[2] = {low, high};
    uint32_t bits;
    memcpy(&bits, both, 4);
    return bits;
}

/// 16 x 8 x `K` with K = 16 or 8.
template <int K>
__device__ void product_m16n8(const MatrixParameters& p) {
    const int group = lane_in_warp() >> 2, in_group = lane_in_warp() % 4;
    f16 a[K / 2], b[K / 4];
    for (int i = 0; i < K / 2; ++i) {
        const int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8;
        const int column = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
        a[i] = p.a[row * K + column];
    }
    for (int i = 0; i < K / 4; ++i) {
        const int row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
        b[i] = p.b[row * 8 + group];
    }
    uint32_t a_pairs[K / 4], b_pairs[K / 8];
    for (int i = 0; i < K / 4; ++i) a_pairs[i] = pair(a[2 * i], a[2 * i + 1]);
    for (int i = 0; i < K / 8; ++i) b_pairs[i] = pair(b[2 * i], b[2 * i + 1]);
    float c[4];
    const auto place = [&](int i) { return (i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1); };
    for (int i = 0; i < 4; ++i) c[i] = p.c[place(i)];
    if constexpr (K == 16) {
        emulator::mma_m16n8k16(c, a_pairs, b_pairs);
    } else {
        emulator::mma_m16n8k8(c, a_pairs, b_pairs[0]);
    }
    for (int i = 0; i < 4; ++i) p.d[place(i)] = c[i];
}

KERNEL(m16n8k16, WARP_LANES, MatrixParameters) { product_m16n8<16>(p); }
KERNEL(m16n8k8, WARP_LANES, MatrixParameters) { product_m16n8<8>(p); }

/// Four products: matrices [4][8][4], [4][4][8] and [4][8][8].
template <bool A_IS_ROW, bool B_IS_ROW>
__device__ void product_m8n8k4(const MatrixParameters& p) {
    const int lane = lane_in_warp(), quad = lane % 16 / 4;
    f16 a[4], b[4];
    for (int i = 0; i < 4; ++i) {
        const int low = lane % 4, raised = lane < 16 ? low : low + 4, raised_i = lane < 16 ? i : i + 4;
        const int a_row = A_IS_ROW ? raised : raised_i, a_column = A_IS_ROW ? i : low;
        const int b_row = B_IS_ROW ? low : i, b_column = B_IS_ROW ? raised_i : raised;
        a[i] = p.a[(quad * 8 + a_row) * 4 + a_column];
        b[i] = p.b[(quad * 4 + b_row) * 8 + b_column];
    }
    const uint32_t a_pairs[2] = {pair(a[0], a[1]), pair(a[2], a[3])}, b_pairs[2] = {pair(b[0], b[1]), pair(b[2], b[3])};
    float c[8];
    const auto place = [&](int i) {
        const int x = (lane & 1) + (i & 2), row = lane < 16 ? x : x + 4;
        return (quad * 8 + row) * 8 + (i & 4) + (lane & 2) + (i & 1);
    };
    for (int i = 0; i < 8; ++i) c[i] = p.c[place(i)];
    emulator::mma_m8n8k4(c, a_pairs, b_pairs, A_IS_ROW, B_IS_ROW);
    for (int i = 0; i < 8; ++i) p.d[place(i)] = c[i];
}

KERNEL(m8n8k4_row_row, WARP_LANES, MatrixParameters) { product_m8n8k4<true, true>(p); }
KERNEL(m8n8k4_row_col, WARP_LANES, MatrixParameters) { product_m8n8k4<true, false>(p); }
KERNEL(m8n8k4_col_row, WARP_LANES, MatrixParameters) { product_m8n8k4<false, true>(p); }
KERNEL(m8n8k4_col_col, WARP_LANES, MatrixParameters) { product_m8n8k4<false, false>(p); }

struct alignas(16) Matrices {
    f16 a[16][16];
    f16 b[16][8];
};

/// The product of 16 x 8 x 16 on fragments that ldmatrix loads: A as it lies, B [K][N] transposed.
KERNEL(loaded_m16n8k16, WARP_LANES, MatrixParameters) {
    SHARED(Matrices, matrices);
    const int lane = lane_in_warp(), group = lane >> 2, in_group = lane % 4;
    for (int i = lane; i < 16 * 16; i += WARP_LANES) matrices.a[i / 16][i % 16] = p.a[i];
    for (int i = lane; i < 16 * 8; i += WARP_LANES) matrices.b[i / 8][i % 8] = p.b[i];
    __syncwarp();
    // Lanes 8 m to 8 m + 7 name the rows of matrix m, which becomes register m.
    uint32_t a[4], b[4];
    const int matrix = lane / 8, row = lane % 8;
    emulator::load_matrix_x4(a, &matrices.a[row + 8 * (matrix % 2)][8 * (matrix / 2)], false);
    emulator::load_matrix_x4(b, &matrices.b[row + 8 * (matrix % 2)][0], true);
    float c[4];
    const auto place = [&](int i) { return (group + 8 * (i / 2)) * 8 + in_group * 2 + i % 2; };
    for (int i = 0; i < 4; ++i) c[i] = p.c[place(i)];
    emulator::mma_m16n8k16(c, a, b);
    for (int i = 0; i < 4; ++i) p.d[place(i)] = c[i];
}
