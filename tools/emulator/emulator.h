// What a kernel sees when the host's compiler compiles it: the dialect of CUDA that kernels/platform.cuh uses, and no more.
//
// Plain loads and stores are seen through the compiler's own instrumentation: kernels are compiled with -fsanitize=thread, whose
// hooks (__tsan_read4 and so on) are ours, in memory.cpp. So the kernels' source needs no wrappers, and nothing that they touch is missed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

using f16 = _Float16;

#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __align__(bytes) alignas(bytes)

namespace emulator {

struct Index {
    unsigned x, y, z;
};

Index thread_index();
Index block_index();
Index block_size();
Index grid_size();

/// Waits for all threads of the block that have not ended.
void sync_threads();
/// Waits for all lanes of the warp; orders their accesses to memory.
void sync_warp();
/// The `bits` of lane `source`, for all 32 lanes of a warp; orders nothing.
uint32_t shuffle(uint32_t bits, unsigned source);

/// The block's static shared memory; every thread must ask for the same size.
void* shared_memory(size_t bytes);

/// Dynamic shared memory: as many bytes as the launch gave.
void* large_shared_memory(size_t bytes);
/// Where a place lies in shared memory: its 32-bit address there.
uint32_t shared_offset(const void* place);

/// A vector access of one instruction: checked as a whole, as the hardware does it.
void load(void* to, const void* from, unsigned bytes);
void store(void* to, const void* from, unsigned bytes);

/// cp.async: `bytes` of shared memory, of which the first `valid` come from global memory and the rest are zeros. Nothing arrives
/// before the wait, and nobody may look before.
void copy_async(void* shared, const void* global, unsigned bytes, unsigned valid);
void commit_copies();
/// Waits until at most `pending` of the latest groups are in flight.
void wait_copies(unsigned pending);

/// ldmatrix.sync.aligned.m8n8.x4 (.trans): the PTX ISA's "Matrix load instruction: ldmatrix".
void load_matrix_x4(uint32_t registers[4], const void* row, bool transposed);
/// mma.sync.aligned.m16n8k16, .m16n8k8 .row.col.f32.f16.f16.f32: "Matrix fragments for mma.m16n8k16 / m16n8k8".
void mma_m16n8k16(float c[4], const uint32_t a[4], const uint32_t b[2]);
void mma_m16n8k8(float c[4], const uint32_t a[2], uint32_t b);
/// mma.sync.aligned.m8n8k4.f32.f16.f16.f32: four products of 8x8x4, one for each quad pair: "Matrix fragments for mma.m8n8k4".
void mma_m8n8k4(float c[8], const uint32_t a[2], const uint32_t b[2], bool a_is_row, bool b_is_row);

/// stmatrix.sync.aligned.m8n8.x4 (.trans).
void store_matrix_x4(void* row, const uint32_t registers[4], bool transposed);

/// wgmma.mma_async.sync.aligned.m64nNk16.f32.f16.f16: C += A B of 64 x `n` x 16, "Asynchronous warpgroup level matrix instructions". A comes
/// from registers, or where there are none by its descriptor; `*_by_edge`: MN-major. C holds the sum only after the wait, and until then
/// nobody may write what is read.
void wgmma(float* c, unsigned n, const uint32_t* a_registers, uint64_t a, bool a_by_edge, uint64_t b, bool b_by_edge);
void wgmma_fence();
void commit_wgmma();
void wait_wgmma(unsigned pending);
/// fence.proxy.async: products see what this thread wrote before it, and those of this thread what a barrier has ordered before it.
void fence_proxy_async();

/// A kernel of this library.
struct Kernel {
    const char* name;
    size_t parameter_bytes;
    unsigned threads;
    void (*body)(const void* parameters);
};

struct Registration {
    explicit Registration(const Kernel& kernel);
};

}  // namespace emulator

// Rounded to nearest even, and never contracted: what the host's own operations do, as the kernels are compiled.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())
#define __syncthreads() emulator::sync_threads()
#define __syncwarp() emulator::sync_warp()

#define KERNEL(name, threads, Parameters)                                                                         \
    static void name##_body(const Parameters& p);                                                                 \
    static const emulator::Registration name##_registration(                                                      \
        {#name, sizeof(Parameters), threads, [](const void* p) { name##_body(*static_cast<const Parameters*>(p)); }}); \
    static void name##_body(const Parameters& p)

#define LONE_KERNEL(name, threads, Parameters) KERNEL(name, threads, Parameters)
#define LARGE_SHARED(Type, name) Type& name = *static_cast<Type*>(emulator::large_shared_memory(sizeof(Type)))
#define SHARED(Type, name) Type& name = *static_cast<Type*>(emulator::shared_memory(sizeof(Type)))
