//! The launch geometry of `kernels/rows.cuh`: a thread for each item of each row.

use crate::tape::DType;
use bytemuck::NoUninit;

/// Threads of a block.
pub(super) const THREADS: u32 = 256;

/// Rows of work, as the kernel sees them.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct Rows {
    items: i32,
    blocks: i32,
}

const _: () = assert!(size_of::<Rows>() == 8);

/// `rows` rows of `items` items, and their grid.
///
/// # Panics
/// If a row has more items than the kernels count.
pub(super) fn cut(rows: usize, items: usize) -> (Rows, [usize; 3]) {
    let blocks = items.div_ceil(THREADS as usize);
    let count = |n: usize| i32::try_from(n).expect("a row of less than 2^31 items");
    (Rows { items: count(items), blocks: count(blocks) }, [rows * blocks, 1, 1])
}

/// How many elements one item has where `channels` of them are side by side: sixteen bytes, or one if that would leave a rest.
pub(super) fn per_item(channels: &[usize], dtype: DType) -> usize {
    let vector = 16 / dtype.size();
    if channels.iter().all(|c| c.is_multiple_of(vector)) { vector } else { 1 }
}
