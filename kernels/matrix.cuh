// Products of small matrices by a warp, C += A B over 16 x 16 x DEPTH, behind one interface: tensor cores for f16 (m8n8k4 on Volta,
// m16n8k8 on Turing, m16n8k16 from Ampere on), plain multiplications for f32. Accumulators are f32.
//
// Operands come from shared memory, each in either of two orders: A by rows [m][k] or, TRANSPOSED, by columns [k][m]; B by rows [k][n] or,
// TRANSPOSED, by columns [n][k]. `stride` is the distance in elements from one row of memory to the next; rows start at multiples of 16
// bytes. Which lane holds which element of C differs: `row(i)` and `column(i)` say it. Layouts: PTX ISA, "Matrix fragments for mma".
#pragma once

#include "platform.cuh"

/// The edge of C.
constexpr int MATRIX = 16;

// One instruction each; the emulator has its own, written from the PTX ISA.
#if defined(__CUDACC__)
__device__ __forceinline__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row) {
    if constexpr (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row))
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row))
                     : "memory");
    }
}

__device__ __forceinline__ void mma_m16n8k16(float* c, const uint32_t* a, const uint32_t* b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_m16n8k8(float* c, const uint32_t* a, uint32_t b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

#define MMA_M8N8K4(A_ORDER, B_ORDER)                                                                                              \
    asm volatile("mma.sync.aligned.m8n8k4." A_ORDER "." B_ORDER                                                                   \
                 ".f32.f16.f16.f32 {%0, %1, %2, %3, %4, %5, %6, %7}, {%8, %9}, {%10, %11}, {%0, %1, %2, %3, %4, %5, %6, %7};"    \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7])                 \
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(b[1]))

template <bool A_IS_ROW, bool B_IS_ROW>
__device__ __forceinline__ void mma_m8n8k4(float* c, const uint32_t* a, const uint32_t* b) {
    if constexpr (A_IS_ROW && B_IS_ROW) MMA_M8N8K4("row", "row");
    if constexpr (A_IS_ROW && !B_IS_ROW) MMA_M8N8K4("row", "col");
    if constexpr (!A_IS_ROW && B_IS_ROW) MMA_M8N8K4("col", "row");
    if constexpr (!A_IS_ROW && !B_IS_ROW) MMA_M8N8K4("col", "col");
}
#undef MMA_M8N8K4
#else
template <bool TRANSPOSED>
inline void load_matrix_x4(uint32_t (&r)[4], const void* row) {
    emulator::load_matrix_x4(r, row, TRANSPOSED);
}
inline void mma_m16n8k16(float* c, const uint32_t* a, const uint32_t* b) { emulator::mma_m16n8k16(c, a, b); }
inline void mma_m16n8k8(float* c, const uint32_t* a, uint32_t b) { emulator::mma_m16n8k8(c, a, b); }
template <bool A_IS_ROW, bool B_IS_ROW>
inline void mma_m8n8k4(float* c, const uint32_t* a, const uint32_t* b) {
    emulator::mma_m8n8k4(c, a, b, A_IS_ROW, B_IS_ROW);
}
#endif

/// Products of matrices of `T`.
template <typename T>
struct Matrix;

#if ARCHITECTURE >= 750

template <>
struct Matrix<f16> {
    static constexpr int DEPTH = 16;

    // The fragments of m16n8k16: A of 16 x 16, B of 16 x 8 twice, side by side. Two of m16n8k8 hold the same registers.
    template <bool TRANSPOSED>
    struct A {
        uint32_t r[4];

        __device__ __forceinline__ void load(const f16* from, int stride) {
            const int lane = lane_in_warp();
            // Matrices of 8 x 8 in the order (rows 0-7, k 0-7), (rows 8-15, k 0-7), (rows 0-7, k 8-15), (rows 8-15, k 8-15).
            const int low = lane % 8, second = lane / 8 % 2 * 8, third = lane / 16 * 8;
            const f16* row = TRANSPOSED ? from + (low + third) * stride + second : from + (low + second) * stride + third;
            load_matrix_x4<TRANSPOSED>(r, row);
        }
    };

    template <bool TRANSPOSED>
    struct B {
        uint32_t r[4];

        __device__ __forceinline__ void load(const f16* from, int stride) {
            const int lane = lane_in_warp();
            // In the order (k 0-7, n 0-7), (k 8-15, n 0-7), (k 0-7, n 8-15), (k 8-15, n 8-15).
            const int low = lane % 8, second = lane / 8 % 2 * 8, third = lane / 16 * 8;
            const f16* row = TRANSPOSED ? from + (low + third) * stride + second : from + (low + second) * stride + third;
            // The instruction's own B is by columns.
            load_matrix_x4<!TRANSPOSED>(r, row);
        }
    };

    struct C {
        float v[8];
    };

    template <bool A_TRANSPOSED, bool B_TRANSPOSED>
    static __device__ __forceinline__ void multiply(C& c, const A<A_TRANSPOSED>& a, const B<B_TRANSPOSED>& b) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#if ARCHITECTURE >= 800
            mma_m16n8k16(c.v + 4 * half, a.r, b.r + 2 * half);
#else
            mma_m16n8k8(c.v + 4 * half, a.r, b.r[2 * half]);
            mma_m16n8k8(c.v + 4 * half, a.r + 2, b.r[2 * half + 1]);
#endif
        }
    }

    static __device__ __forceinline__ int row(int i) { return lane_in_warp() / 4 + i / 2 % 2 * 8; }
    static __device__ __forceinline__ int column(int i) { return lane_in_warp() % 4 * 2 + i % 2 + i / 4 * 8; }
};

#else

template <>
struct Matrix<f16> {
    static constexpr int DEPTH = 16;

    // Each quad pair (lanes 4 q to 4 q + 3 and 16 more) multiplies 8 x 8 x 4; four of them share C as 2 x 2, and four instructions go
    // through the depth. A register pair holds four elements that lie side by side in memory.
    static __device__ __forceinline__ int quad_pair() { return lane_in_warp() % 16 / 4; }
    static __device__ __forceinline__ int first_row() { return quad_pair() % 2 * 8; }
    static __device__ __forceinline__ int first_column() { return quad_pair() / 2 * 8; }

    /// An operand with an edge of 8 from `first` on: by its lines [edge][k], or across them [k][edge].
    static __device__ __forceinline__ void load(uint32_t (&r)[4][2], const f16* from, int stride, int first, bool across) {
        const int quarter = lane_in_warp() % 4, upper = lane_in_warp() / 16 * 4;
#pragma unroll
        for (int step = 0; step < 4; ++step) {
            const f16* four = across ? from + (4 * step + quarter) * stride + first + upper
                                     : from + (first + quarter + upper) * stride + 4 * step;
            const auto loaded = load_vector<2>(reinterpret_cast<const uint32_t*>(four));
            r[step][0] = loaded.v[0];
            r[step][1] = loaded.v[1];
        }
    }

    template <bool TRANSPOSED>
    struct A {
        uint32_t r[4][2];
        __device__ __forceinline__ void load(const f16* from, int stride) { Matrix::load(r, from, stride, first_row(), TRANSPOSED); }
    };

    template <bool TRANSPOSED>
    struct B {
        uint32_t r[4][2];
        __device__ __forceinline__ void load(const f16* from, int stride) { Matrix::load(r, from, stride, first_column(), !TRANSPOSED); }
    };

    struct C {
        float v[8];
    };

    template <bool A_TRANSPOSED, bool B_TRANSPOSED>
    static __device__ __forceinline__ void multiply(C& c, const A<A_TRANSPOSED>& a, const B<B_TRANSPOSED>& b) {
#pragma unroll
        for (int step = 0; step < 4; ++step) mma_m8n8k4<!A_TRANSPOSED, !B_TRANSPOSED>(c.v, a.r[step], b.r[step]);
    }

    static __device__ __forceinline__ int row(int i) { return first_row() + lane_in_warp() % 2 + (i & 2) + lane_in_warp() / 16 * 4; }
    static __device__ __forceinline__ int column(int i) { return first_column() + (i & 4) + (lane_in_warp() & 2) + i % 2; }
};

#endif

template <>
struct Matrix<float> {
    static constexpr int DEPTH = 4;

    // Each lane has 4 x 2 elements of C: a quarter of the warp shares its rows, and so reads them in one broadcast.
    static __device__ __forceinline__ int first_row() { return lane_in_warp() / 8 * 4; }
    static __device__ __forceinline__ int first_column() { return lane_in_warp() % 8 * 2; }

    template <bool TRANSPOSED>
    struct A {
        Vector<float, 4> r[4];  // [row][k], or [k][row]

        __device__ __forceinline__ void load(const float* from, int stride) {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                r[i] = load_vector<4>(TRANSPOSED ? from + i * stride + first_row() : from + (first_row() + i) * stride);
        }
        __device__ __forceinline__ float at(int row, int k) const { return TRANSPOSED ? r[k].v[row] : r[row].v[k]; }
    };

    template <bool TRANSPOSED>
    struct B {
        float r[2][4];  // [column][k]

        __device__ __forceinline__ void load(const float* from, int stride) {
            if constexpr (TRANSPOSED) {
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const auto line = load_vector<4>(from + (first_column() + j) * stride);
#pragma unroll
                    for (int k = 0; k < 4; ++k) r[j][k] = line.v[k];
                }
            } else {
#pragma unroll
                for (int k = 0; k < 4; ++k) {
                    const auto line = load_vector<2>(from + k * stride + first_column());
                    r[0][k] = line.v[0];
                    r[1][k] = line.v[1];
                }
            }
        }
    };

    struct C {
        float v[8];
    };

    template <bool A_TRANSPOSED, bool B_TRANSPOSED>
    static __device__ __forceinline__ void multiply(C& c, const A<A_TRANSPOSED>& a, const B<B_TRANSPOSED>& b) {
#pragma unroll
        for (int k = 0; k < DEPTH; ++k)
#pragma unroll
            for (int i = 0; i < 8; ++i) c.v[i] += a.at(i / 2, k) * b.r[i % 2][k];
    }

    static __device__ __forceinline__ int row(int i) { return first_row() + i / 2; }
    static __device__ __forceinline__ int column(int i) { return first_column() + i % 2; }
};
