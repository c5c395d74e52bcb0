//! The launch geometry of `kernels/elementwise.cuh`: a thread for each sixteen bytes.

use super::program::Value;

/// Threads of a block.
pub(super) const THREADS: u32 = 256;

/// Blocks for the elements of `value`, which decides how many of them are sixteen bytes.
pub(super) fn grid(value: Value) -> [usize; 3] {
    let per_thread = 16 / value.dtype.size();
    [value.shape.len().div_ceil(per_thread * THREADS as usize), 1, 1]
}
