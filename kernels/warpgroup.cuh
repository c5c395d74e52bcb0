// Hopper's products of matrices (wgmma): four warps, a warpgroup, multiply 64 rows of A by up to 256 columns of B from shared memory, and go on
// with other things meanwhile. PTX ISA, "Asynchronous warpgroup level matrix instructions".
//
// Operands lie in shared memory in rows of 128 bytes: 64 channels of one pixel, or of one row of weights, in the ISA's order "128-byte swizzle". The
// hardware finds a line of sixteen bytes by its address alone, of which it exchanges bits; so an operand may begin at any row, and a tap of
// a convolution is the same tile from another row on. (Tried on an H200 for all shifts; the ISA speaks of tiles that begin where the pattern
// does.) An operand is K-major where channels are its depth and rows its edge, MN-major where it is the other way round.
//
// Without a swizzle, eight channels of all pixels side by side, products are as fast, but copies are not: eight threads that copy a pixel's
// channels write one row here, and eight there, one after another.
#pragma once

#include "copy.cuh"

#if HAS_WARPGROUPS

#if !defined(__CUDACC__)
inline uint32_t shared_address(const void* p) { return emulator::shared_offset(p); }
#endif

constexpr int WARPGROUP = 128;

/// Eight channels.
using Line = Vector<f16>;
/// Of a row.
constexpr int ROW_LINES = 8, ROW_CHANNELS = ROW_LINES * VECTOR<f16>;
/// Rows after which the order repeats itself; arrays of rows have whole ones.
constexpr int SWIZZLE_ROWS = 8;

/// Rows in shared memory, from a multiple of 1,024 bytes on.
template <int N>
struct alignas(SWIZZLE_ROWS * ROW_LINES * sizeof(Line)) Rows {
    Line lines[ceil_div(N, SWIZZLE_ROWS) * SWIZZLE_ROWS * ROW_LINES];

    /// Line `line` of row `row`, which is eight channels.
    __device__ __forceinline__ Line* at(int row, int line) { return lines + row * ROW_LINES + (line ^ row % SWIZZLE_ROWS); }
};

/// Where an operand lies: from row `row` and channel `channel` on, and `stride` rows from eight of its rows to the next eight.
template <int N>
__device__ __forceinline__ uint64_t operand(const Rows<N>& rows, int row, int channel, int stride) {
    constexpr int ROW_BYTES = ROW_LINES * sizeof(Line);
    const uint32_t start = shared_address(rows.lines) + row * ROW_BYTES + channel * sizeof(f16);
    // The ISA's descriptor: start and stride in units of sixteen bytes, the other stride unused, and the kind of swizzle.
    const uint32_t low = start / sizeof(Line) | 1u << 16, high = stride * ROW_LINES | 1u << 30;
    return static_cast<uint64_t>(high) << 32 | low;
}

#if defined(__CUDACC__)
#define FOUR(c, i) "+f"(c[i]), "+f"(c[(i) + 1]), "+f"(c[(i) + 2]), "+f"(c[(i) + 3])
#define SIXTEEN(c, i) FOUR(c, i), FOUR(c, (i) + 4), FOUR(c, (i) + 8), FOUR(c, (i) + 12)
#define SIXTY_FOUR(c, i) SIXTEEN(c, i), SIXTEEN(c, (i) + 16), SIXTEEN(c, (i) + 32), SIXTEEN(c, (i) + 48)

/// C += A B of 64 x 256 x 16, for B K-major. `A_BY_ROWS`: A is MN-major, channels being its rows.
template <bool A_BY_ROWS>
__device__ __forceinline__ void multiply_64x256(float (&c)[128], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
        "}, %128, %129, 1, 1, 1, %130, 0;"
        : SIXTY_FOUR(c, 0), SIXTY_FOUR(c, 64)
        : "l"(a), "l"(b), "n"(A_BY_ROWS));
}

/// C += A B of 64 x 64 x 16, for A in registers, as for mma.m16n8k16 in each warp, and B MN-major.
__device__ __forceinline__ void multiply_64x64(float (&c)[32], const uint32_t (&a)[4], uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
        "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
        : SIXTEEN(c, 0), SIXTEEN(c, 16)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
#undef FOUR
#undef SIXTEEN
#undef SIXTY_FOUR

/// Makes registers of operands known to products that follow, before the first and whenever anything else has touched them.
__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/// Ends a group of products.
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until all but the latest `PENDING` groups have been added. Until then nothing may touch their registers or shared memory.
template <int PENDING>
__device__ __forceinline__ void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/// Keeps the compiler from moving what it does with accumulators past here: it knows nothing of products that are still being added.
template <int N>
__device__ __forceinline__ void pin(float (&c)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "+f"(c[i])::"memory");
}

/// Gives this thread `REGISTERS`, a multiple of 8: more than it has (`MORE`), which are waited for, or fewer. All of a warpgroup do the same.
template <int REGISTERS, bool MORE>
__device__ __forceinline__ void take_registers() {
    if constexpr (MORE) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
    else asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

/// What others wrote to shared memory by other means, before a barrier that this thread has passed, is there for products from now on. (In the thread
/// that copies, the fence would also wait for copies that are still on their way.)
__device__ __forceinline__ void acquire_for_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Stores four matrices of 8 x 8, each register as `load_matrix_x4` would read it with TRANSPOSED: row `i` of matrix `m` at what lane 8 m + i names.
__device__ __forceinline__ void store_matrix_x4_transposed(void* row, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
}

__device__ __forceinline__ uint32_t pack_halves(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}
#else
template <bool A_BY_ROWS>
inline void multiply_64x256(float (&c)[128], uint64_t a, uint64_t b) {
    emulator::wgmma(c, 256, nullptr, a, A_BY_ROWS, b, false);
}
inline void multiply_64x64(float (&c)[32], const uint32_t (&a)[4], uint64_t b) { emulator::wgmma(c, 64, a, 0, false, b, true); }
inline void begin_products() { emulator::wgmma_fence(); }
inline void commit_products() { emulator::commit_wgmma(); }
template <int PENDING>
inline void wait_products() {
    emulator::wait_wgmma(PENDING);
}
template <int N>
inline void pin(float (&)[N]) {}
template <int REGISTERS, bool MORE>
inline void take_registers() {}
inline void acquire_for_products() { emulator::fence_proxy_async(); }
inline void store_matrix_x4_transposed(void* row, const uint32_t (&r)[4]) { emulator::store_matrix_x4(row, r, true); }
inline uint32_t pack_halves(float low, float high) {
    const f16 pair[2] = {static_cast<f16>(low), static_cast<f16>(high)};
    uint32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return bits;
}
#endif

#endif
