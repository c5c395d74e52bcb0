//! How `kernels/columns.cuh` cuts an image `[pixels][channels]` into chunks of pixels and groups of channels.

use super::program::{Lowering, Value};
use crate::tape::{DType, Shape};
use bytemuck::NoUninit;
use std::ops::RangeInclusive;

/// Threads of a block.
pub(super) const THREADS: u32 = 256;
/// Blocks that a sum aims at: several for each processor of the largest GPUs.
const BLOCKS: usize = 1024;
/// Pixels that one thread sums in f32: fewer are not worth a block, more would cost digits.
const SUMMED: RangeInclusive<usize> = 4..=256;
/// Pixels of a thread where nothing is summed: `COLUMN_BATCH`.
const BATCH: usize = 4;
/// Threads side by side, at most: the bytes of one pixel that a block then reads are four full lines of the cache.
const WIDTH: usize = 32;
/// Channels of a block that adds partial sums: `COMBINED_CHANNELS`.
const COMBINED_CHANNELS: usize = 8;

/// `ColumnCut` in kernels/columns.cuh.
#[derive(Clone, Copy, Debug, NoUninit, PartialEq)]
#[repr(C)]
pub(super) struct Cut {
    pixels: i64,
    channels: i32,
    width: i32,
    rows: i32,
    chunk: i32,
}

const _: () = assert!(size_of::<Cut>() == 24);

impl Cut {
    fn new(image: Shape, stored: DType, per_thread: impl Fn(usize, usize) -> usize) -> Cut {
        let (vector, channels) = (16 / stored.size(), image.c());
        let vectors = if channels.is_multiple_of(vector) { channels / vector } else { channels };
        // Groups of about the same width, so that the last one is no remnant.
        let width = vectors.div_ceil(vectors.div_ceil(WIDTH));
        let rows = THREADS as usize / width;
        let chunk = rows * per_thread(rows, vectors.div_ceil(width));
        let number = |n: usize| i32::try_from(n).expect("channels and chunks count less than 2^31");
        let pixels = i64::try_from(image.pixels()).expect("pixels count less than 2^63");
        Cut { pixels, channels: number(channels), width: number(width), rows: number(rows), chunk: number(chunk) }
    }

    /// For sums over all pixels.
    fn for_sums(image: Shape, stored: DType) -> Cut {
        let summed = |rows, groups| image.pixels() * groups / (rows * BLOCKS);
        Cut::new(image, stored, |rows, groups| summed(rows, groups).clamp(*SUMMED.start(), *SUMMED.end()))
    }

    /// For loops over all pixels; with the grid that goes with it.
    pub fn for_loops(image: Value) -> (Cut, [usize; 3]) {
        let cut = Cut::new(image.shape, image.dtype, |_, _| BATCH);
        (cut, cut.grid(image.dtype))
    }

    fn n_chunks(&self) -> usize {
        (self.pixels as usize).div_ceil(self.chunk as usize)
    }

    fn grid(&self, stored: DType) -> [usize; 3] {
        let (vector, channels) = (16 / stored.size(), self.channels as usize);
        let per_thread = if channels.is_multiple_of(vector) { vector } else { 1 };
        [self.n_chunks(), channels.div_ceil(self.width as usize * per_thread), 1]
    }
}

/// Sums over an image, by two launches: their cut, grids and the partial sums between them.
pub(super) struct Sums {
    pub cut: Cut,
    pub partials: Value,
    pub grid: [usize; 3],
    pub combining_grid: [usize; 3],
}

impl Sums {
    /// Of `terms` numbers a channel.
    pub fn new(lowering: &Lowering<'_>, image: Value, terms: usize) -> Sums {
        let (cut, channels) = (Cut::for_sums(image.shape, image.dtype), image.shape.c());
        let partials = lowering.workspace().part(0, cut.n_chunks() * terms * channels, DType::F32);
        Sums { cut, partials, grid: cut.grid(image.dtype), combining_grid: [channels.div_ceil(COMBINED_CHANNELS), 1, 1] }
    }
}

/// Bytes of the partial sums of `terms` numbers a channel over `image`, whichever type it is stored in.
pub(super) fn workspace_bytes(image: Shape, terms: usize) -> usize {
    let chunks = [DType::F32, DType::F16].map(|stored| Cut::for_sums(image, stored).n_chunks());
    chunks[0].max(chunks[1]) * terms * image.c() * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pixel and channel falls to one thread, no block holds more threads than it has, and large images fill large GPUs.
    #[test]
    fn cuts_cover_the_image() {
        let shapes =
            [[1, 1, 1, 1], [1, 1, 1, 65], [2, 3, 5, 7], [16, 512, 512, 64], [8, 512, 512, 1], [16, 32, 32, 512], [1, 1, 2, 4096]];
        for (shape, stored) in shapes.into_iter().flat_map(|s| [(Shape(s), DType::F32), (Shape(s), DType::F16)]) {
            for cut in [Cut::for_sums(shape, stored), Cut::new(shape, stored, |_, _| BATCH)] {
                let [chunks, groups, _] = cut.grid(stored);
                let (pixels, channels) = (shape.pixels(), shape.c());
                let vector = if channels.is_multiple_of(16 / stored.size()) { 16 / stored.size() } else { 1 };
                let group = cut.width as usize * vector;
                assert!((chunks - 1) * (cut.chunk as usize) < pixels && pixels <= chunks * cut.chunk as usize, "{cut:?}");
                assert!((groups - 1) * group < channels && channels <= groups * group, "{cut:?}");
                assert!(cut.width as usize <= WIDTH && cut.width * cut.rows <= THREADS as i32, "{cut:?}");
                assert!(shape.len() < 1 << 23 || chunks * groups >= 264, "{cut:?} has {chunks} x {groups} blocks");
            }
            let chunks = Cut::for_sums(shape, stored).n_chunks();
            assert!(
                workspace_bytes(shape, 2) >= chunks * 2 * shape.c() * 4 && chunks <= 2 * BLOCKS,
                "{chunks} chunks of {shape:?}"
            );
        }
    }
}
