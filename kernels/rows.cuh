// Work laid out in rows: `items` things side by side in each row, a thread for each. Both the row and what an item is are then found by
// divisions of 32 bits, however large the whole is.
#pragma once

#include "platform.cuh"

constexpr int ROW_THREADS = 256;

/// Grid: `blocks` for each row, one after the other.
struct Rows {
    /// Items of a row.
    int32_t items;
    /// Blocks that hold them: ceil(items / ROW_THREADS).
    int32_t blocks;
};
static_assert(sizeof(Rows) == 8);

struct Place {
    int32_t row;
    /// Beyond the row's items for threads that have nothing to do.
    uint32_t item;
};

__device__ __forceinline__ Place place_in(const Rows& rows) {
    const uint32_t row = blockIdx.x / static_cast<uint32_t>(rows.blocks);
    const uint32_t block = blockIdx.x - row * static_cast<uint32_t>(rows.blocks);
    return {static_cast<int32_t>(row), block * ROW_THREADS + static_cast<uint32_t>(thread_in_block())};
}
