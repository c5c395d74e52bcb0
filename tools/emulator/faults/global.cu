// Global memory: races between blocks and between threads, places outside of the operands, what nobody wrote.
#include <type_traits>

#include "faults.cuh"

template <bool SOUND>
__device__ void two_blocks_write(const Parameters& p) {
    p.out[SOUND ? element() : element() / 2] = p.in[element()];
}
FAULT(two_blocks_write)

/// The first block writes what the second one reads.
template <bool SOUND>
__device__ void block_reads_written(const Parameters& p) {
    if (blockIdx.x == 0) p.out[thread_in_block()] = 1;
    if (blockIdx.x == 1) p.out[element()] = (SOUND ? p.in : p.out)[thread_in_block()];
}
FAULT(block_reads_written)

/// The first block reads what the second one writes: the other order, on a machine that runs one block after another.
template <bool SOUND>
__device__ void block_writes_read(const Parameters& p) {
    if (blockIdx.x == 0) p.out[thread_in_block()] = (SOUND ? p.in : p.out)[THREADS + thread_in_block()];
    if (blockIdx.x == 1) p.out[element()] = 1;
}
FAULT(block_writes_read)

/// What each thread leaves differs, so the result depends on the order.
template <bool SOUND>
__device__ void threads_write(const Parameters& p) {
    if (SOUND || thread_in_block() % 2) p.out[element()] = thread_in_block();
    if constexpr (!SOUND) p.out[int64_t{blockIdx.x} * THREADS] = thread_in_block();
}
FAULT(threads_write)

template <bool SOUND>
__device__ void thread_reads_written(const Parameters& p) {
    p.out[element()] = p.in[element()];
    if constexpr (SOUND) __syncthreads();
    const float other = p.out[element() ^ 1];
    __syncthreads();
    p.out[element()] = other;
}
FAULT(thread_reads_written)

template <bool SOUND>
__device__ void thread_writes_read(const Parameters& p) {
    const float other = p.out[element() ^ 1];
    if constexpr (SOUND) __syncthreads();
    p.out[element()] = other;
}
FAULT(thread_writes_read)

template <bool SOUND>
__device__ void read_past(const Parameters& p) {
    const int64_t next = element() + 1;
    p.out[element()] = SOUND && next == p.count ? 0 : p.in[next];
}
FAULT(read_past)

template <bool SOUND>
__device__ void read_before(const Parameters& p) {
    p.out[element()] = SOUND && element() == 0 ? 0 : p.in[element() - 1];
}
FAULT(read_before)

/// Only the end of a vector lies outside.
template <bool SOUND>
__device__ void vector_past(const Parameters& p) {
    const int64_t first = 4 * element();
    if (SOUND ? first + 4 <= p.count : first < p.count) {
        store_vector<4>(p.out + first, load_vector<4>(p.in + first));
    } else {
        for (int64_t i = first; i < p.count; ++i) p.out[i] = p.in[i];
    }
}
FAULT(vector_past)

template <bool SOUND>
__device__ void write_past(const Parameters& p) {
    p.out[element()] = 0;
    if (!SOUND && element() == p.count - 1) p.out[p.count] = 0;
}
FAULT(write_past)

template <bool SOUND>
__device__ void write_read_only(const Parameters& p) {
    (SOUND ? p.out : const_cast<float*>(p.in))[element()] = 0;
    p.out[element()] = 0;
}
FAULT(write_read_only)

template <bool SOUND>
__device__ void misaligned_vector(const Parameters& p) {
    const int64_t at = 4 * (element() / 4);
    const auto four = load_vector<4>(p.in + (SOUND || at == 0 ? at : at - 2));
    p.out[element()] = four.v[0];
}
FAULT(misaligned_vector)

template <bool SOUND>
__device__ void read_unwritten(const Parameters& p) {
    if (SOUND) p.out[element()] = 0;
    p.out[element()] += p.in[element()];
}
FAULT(read_unwritten)

template <bool SOUND>
__device__ void partly_unwritten(const Parameters& p) {
    if (SOUND || element() != 77) p.out[element()] = p.in[element()];
}
FAULT(partly_unwritten)

KERNEL(copy, THREADS, Parameters) { p.out[element()] = p.in[element()]; }

/// A product of indices that no longer fits into 32 bits.
template <bool SOUND>
__device__ void index_overflow(const Parameters& p) {
    using Index = std::conditional_t<SOUND, int64_t, int32_t>;
    const Index many = static_cast<Index>(p.count) << 20;
    p.out[element()] = static_cast<float>(many * 17);
}
FAULT(index_overflow)
