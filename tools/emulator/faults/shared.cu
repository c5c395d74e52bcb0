// Shared memory, and asynchronous copies to it.
#include "faults.cuh"

struct alignas(16) Values {
    float v[4 * THREADS];
};

template <bool SOUND>
__device__ void shared_unwritten(const Parameters& p) {
    SHARED(Values, values);
    if (SOUND || thread_in_block() != 5) values.v[thread_in_block()] = 1;
    __syncthreads();
    p.out[element()] = values.v[thread_in_block() ^ 1];
}
FAULT(shared_unwritten)

/// What the last block left is not there any more.
template <bool SOUND>
__device__ void shared_of_last_block(const Parameters& p) {
    SHARED(Values, values);
    if (SOUND || blockIdx.x == 0) values.v[thread_in_block()] = 1;
    __syncthreads();
    p.out[element()] = values.v[thread_in_block() ^ 1];
}
FAULT(shared_of_last_block)

template <bool SOUND>
__device__ void shared_past(const Parameters& p) {
    SHARED(Values, values);
    float* last = values.v + 3 * THREADS;
    last[thread_in_block() + (SOUND ? 0 : 1)] = 1;
    p.out[element()] = 1;
}
FAULT(shared_past)

template <bool SOUND>
__device__ void shared_misaligned(const Parameters& p) {
    SHARED(Values, values);
    const int at = 4 * thread_in_block();
    for (int i = 0; i < 4; ++i) values.v[at + i] = 1;
    __syncthreads();
    p.out[element()] = load_vector<4>(values.v + (SOUND || at == 0 ? at : at - 1)).v[0];
}
FAULT(shared_misaligned)

/// Copies four elements a thread; `WAITS` and `MEETS`: whether it waits for its copies, and all for one another.
template <bool WAITS, bool MEETS>
__device__ void copy_through_shared(const Parameters& p) {
    SHARED(Values, values);
    const int at = 4 * thread_in_block();
    const int64_t block = int64_t{blockIdx.x} * 4 * THREADS;
    emulator::copy_async(values.v + at, p.in + block + at, 16, 16);
    emulator::commit_copies();
    if constexpr (WAITS) emulator::wait_copies(0);
    if constexpr (MEETS) __syncthreads();
    for (int i = 0; i < 4; ++i) p.out[block + i * THREADS + thread_in_block()] = values.v[i * THREADS + thread_in_block()];
}

template <bool SOUND>
__device__ void copy_without_wait(const Parameters& p) {
    copy_through_shared<SOUND, true>(p);
}
FAULT(copy_without_wait)

/// A thread waits for its own copies only.
template <bool SOUND>
__device__ void copy_without_barrier(const Parameters& p) {
    copy_through_shared<true, SOUND>(p);
}
FAULT(copy_without_barrier)

/// Waits for the older of two groups and reads the younger.
template <bool SOUND>
__device__ void copy_waits_for_older(const Parameters& p) {
    SHARED(Values, values);
    for (int group = 0; group < 2; ++group) {
        emulator::copy_async(values.v + group * THREADS + thread_in_block(), p.in + element(), 4, 4);
        emulator::commit_copies();
    }
    emulator::wait_copies(1);
    p.out[element()] = values.v[(SOUND ? 0 : THREADS) + thread_in_block()];
    emulator::wait_copies(0);
}
FAULT(copy_waits_for_older)

template <bool SOUND>
__device__ void copy_left_in_flight(const Parameters& p) {
    SHARED(Values, values);
    p.out[element()] = 1;
    emulator::copy_async(values.v + thread_in_block(), p.in + element(), 4, 4);
    emulator::commit_copies();
    if constexpr (SOUND) emulator::wait_copies(0);
}
FAULT(copy_left_in_flight)

/// What a copy does not take from global memory is zeros; nothing of it is touched there.
template <bool SOUND>
__device__ void copy_past(const Parameters& p) {
    SHARED(Values, values);
    const int64_t left = p.count - 4 * element();
    const unsigned valid = left >= 4 ? 16 : left > 0 ? 4 * static_cast<unsigned>(left) : 0;
    emulator::copy_async(values.v + 4 * thread_in_block(), p.in + 4 * element(), 16, SOUND || valid == 0 ? valid : 16);
    emulator::commit_copies();
    emulator::wait_copies(0);
    for (int64_t i = 0; i < 4 && i < left; ++i) p.out[4 * element() + i] = values.v[4 * thread_in_block() + i];
    if (left < 4 && left > 0 && values.v[4 * thread_in_block() + 3] != 0) p.out[0] = -1;
}
FAULT(copy_past)

/// A stage is filled again while others may still read it.
template <bool SOUND>
__device__ void copy_into_read(const Parameters& p) {
    SHARED(Values, values);
    values.v[thread_in_block()] = p.in[element()];
    __syncthreads();
    const float first = values.v[thread_in_block() ^ 1];
    if constexpr (SOUND) __syncthreads();
    emulator::copy_async(values.v + thread_in_block(), p.in + element(), 4, 4);
    emulator::commit_copies();
    __syncthreads();
    emulator::wait_copies(0);
    __syncthreads();
    p.out[element()] = first + values.v[thread_in_block() ^ 1];
}
FAULT(copy_into_read)

template <bool SOUND>
__device__ void copy_misaligned(const Parameters& p) {
    SHARED(Values, values);
    const int at = SOUND || thread_in_block() % 4 == 0 ? 0 : 4;
    emulator::copy_async(reinterpret_cast<unsigned char*>(values.v + 4 * thread_in_block()) + at, p.in, 16, 16);
    emulator::commit_copies();
    emulator::wait_copies(0);
    p.out[element()] = 0;
}
FAULT(copy_misaligned)

struct Rows {
    float v[8][8];
};

/// Past the end of a row is the next one, which the check of the struct as a whole does not see.
template <bool SOUND>
__device__ void index_past_row(const Parameters& p) {
    SHARED(Rows, rows);
    const int row = thread_in_block() / 8, column = thread_in_block() % 8;
    rows.v[row][column + (SOUND || row == 7 ? 0 : 1)] = p.in[element()];
    p.out[element()] = 0;
}
FAULT(index_past_row)

template <bool SOUND>
struct Most {
    float v[12 * 1024 + (SOUND ? 0 : 1)];
};

template <bool SOUND>
__device__ void shared_too_large(const Parameters& p) {
    SHARED(Most<SOUND>, most);
    most.v[thread_in_block()] = p.in[element()];
    p.out[element()] = most.v[thread_in_block()];
}
FAULT(shared_too_large)
