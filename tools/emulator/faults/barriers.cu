// Barriers that are missing, or that not all reach.
#include "faults.cuh"

struct Values {
    float of_thread[THREADS];
};

template <bool SOUND>
__device__ void missing_syncthreads(const Parameters& p) {
    SHARED(Values, values);
    values.of_thread[thread_in_block()] = p.in[element()];
    if constexpr (SOUND) __syncthreads();
    p.out[element()] = values.of_thread[THREADS - 1 - thread_in_block()];
}
FAULT(missing_syncthreads)

/// The second round overwrites what others may still read in the first.
template <bool SOUND>
__device__ void missing_second_syncthreads(const Parameters& p) {
    SHARED(Values, values);
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        values.of_thread[thread_in_block()] = p.in[element()] + round;
        __syncthreads();
        sum += values.of_thread[THREADS - 1 - thread_in_block()];
        if constexpr (SOUND) __syncthreads();
    }
    p.out[element()] = sum;
}
FAULT(missing_second_syncthreads)

template <bool SOUND>
__device__ void missing_syncwarp(const Parameters& p) {
    SHARED(Values, values);
    values.of_thread[thread_in_block()] = p.in[element()];
    if constexpr (SOUND) __syncwarp();
    p.out[element()] = values.of_thread[thread_in_block() ^ 1];
}
FAULT(missing_syncwarp)

/// A warp's own barrier does not order what another warp does.
template <bool SOUND>
__device__ void syncwarp_between_warps(const Parameters& p) {
    SHARED(Values, values);
    values.of_thread[thread_in_block()] = p.in[element()];
    if constexpr (SOUND) {
        __syncthreads();
    } else {
        __syncwarp();
    }
    p.out[element()] = values.of_thread[thread_in_block() ^ WARP_LANES];
}
FAULT(syncwarp_between_warps)

/// A shuffle brings lanes together but orders no memory.
template <bool SOUND>
__device__ void shuffle_as_barrier(const Parameters& p) {
    SHARED(Values, values);
    values.of_thread[thread_in_block()] = p.in[element()];
    const float sum = warp_sum(1.0f);
    if constexpr (SOUND) __syncwarp();
    p.out[element()] = sum * values.of_thread[thread_in_block() ^ 1];
}
FAULT(shuffle_as_barrier)

/// Some lanes wait in a shuffle for others that wait at the block's barrier for them.
template <bool SOUND>
__device__ void divergent_barrier(const Parameters& p) {
    float x = p.in[element()];
    if (SOUND || lane_in_warp() < 16) x = shuffle(x, 0);
    __syncthreads();
    p.out[element()] = x;
}
FAULT(divergent_barrier)

/// A lane has ended for which the others wait.
template <bool SOUND>
__device__ void shuffle_without_all(const Parameters& p) {
    const float x = p.in[element()];
    p.out[element()] = x;
    if (!SOUND && lane_in_warp() == 7) return;
    p.out[element()] = warp_sum(x);
}
FAULT(shuffle_without_all)

template <bool SOUND>
__device__ void parting_lanes(const Parameters& p) {
    float x = p.in[element()];
    if (SOUND || lane_in_warp() < 16) {
        x = shuffle(x, 0);
    } else {
        __syncwarp();
    }
    p.out[element()] = x;
}
FAULT(parting_lanes)
