// Accesses whose cost is known.
#include "faults.cuh"

struct Column {
    float v[33 * WARP_LANES];
};

/// Reads and writes every `STRIDE`-th element.
template <int STRIDE>
__device__ void strided(const Parameters& p) {
    p.out[element() * STRIDE] = p.in[element() * STRIDE];
}

KERNEL(coalesced_copy, THREADS, Parameters) { strided<1>(p); }
KERNEL(strided_copy, THREADS, Parameters) { strided<8>(p); }
KERNEL(vector_copy, THREADS, Parameters) { store_vector<4>(p.out + 4 * element(), load_vector<4>(p.in + 4 * element())); }

/// A warp writes and reads a column of a matrix with rows of `STRIDE` words.
template <int STRIDE>
__device__ void column(const Parameters& p) {
    SHARED(Column, column);
    column.v[STRIDE * thread_in_block()] = p.in[thread_in_block()];
    __syncwarp();
    p.out[thread_in_block()] = column.v[STRIDE * thread_in_block()];
}

KERNEL(column_32, WARP_LANES, Parameters) { column<32>(p); }
KERNEL(column_33, WARP_LANES, Parameters) { column<33>(p); }

struct alignas(16) Rows {
    f16 v[32 * 72];
};

/// A warp fills 32 rows of `STRIDE` halves by vectors of eight, and reads four matrices of 8 x 8 from them.
template <int STRIDE>
__device__ void matrix_rows(const Parameters& p) {
    SHARED(Rows, rows);
    f16* row = rows.v + STRIDE * thread_in_block();
    Vector<f16> eight = {};
    store_vector<8>(row, eight);
    __syncwarp();
    uint32_t registers[4];
    emulator::load_matrix_x4(registers, row, false);
    p.out[thread_in_block()] = static_cast<float>(registers[0] + p.in[thread_in_block()]);
}

KERNEL(matrix_rows_64, WARP_LANES, Parameters) { matrix_rows<64>(p); }
KERNEL(matrix_rows_72, WARP_LANES, Parameters) { matrix_rows<72>(p); }

struct alignas(16) Copied {
    float v[8 * 4 * WARP_LANES];
};

/// Asynchronous copies of 16 bytes a lane to places `STRIDE` bytes apart.
template <int STRIDE>
__device__ void async_rows(const Parameters& p) {
    SHARED(Copied, copied);
    float* to = copied.v + STRIDE / 4 * thread_in_block();
    emulator::copy_async(to, p.in + 4 * thread_in_block(), 16, 16);
    emulator::commit_copies();
    emulator::wait_copies(0);
    p.out[thread_in_block()] = 0;
}

KERNEL(async_rows_16, WARP_LANES, Parameters) { async_rows<16>(p); }
KERNEL(async_rows_128, WARP_LANES, Parameters) { async_rows<128>(p); }
