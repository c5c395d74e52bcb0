//! The matrix product behind every convolution, without the matrix: an implicit GEMM by indirection.
//!
//! ```text
//! out[target(p), j] = bias[j] + sum over segments s of  sum over k of  x_s[p][k] w[row_s + k, j]
//! ```
//!
//! p counts output pixels, j output channels. A segment is a run of consecutive input channels of one kernel tap, or of a row of taps
//! where these lie side by side, of one input image; for each of a tile's pixels it holds a pointer to that run. A tap outside the image
//! points to zeros. The register tile computes `tile_rows` pixels times `tile_columns` channels. Weights are packed as
//! [column block][k][tile_columns], zero padded.
//!
//! Every output is summed by one thread, in the order of the segments, so the result does not depend on how work is cut.

use super::pool::for_each;
use super::simd::{Kernel, Lanes, Level, dispatch};
use rayon::prelude::*;

/// The most rows of any register tile.
pub(super) const MAX_ROWS: usize = 12;
/// The most columns of any register tile.
pub(super) const MAX_COLUMNS: usize = 32;
/// Nine taps of two images.
const MAX_SEGMENTS: usize = 18;
/// Longest patch that is gathered instead of pointed to: see [`Tile::patch`].
pub(super) const MAX_PATCH: usize = 36;
/// Input floats that one task should touch: half of a level-2 cache.
const TASK_FLOATS: usize = 65_536;
/// Tasks that even a small image is cut into.
const MIN_TASKS: usize = 32;

/// A run of input channels under one kernel tap or a row of them, for each pixel of a tile.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// For each pixel, `len` floats.
    pub x: [*const f32; MAX_ROWS],
    /// The packed row of weights of the first channel.
    pub row: usize,
    pub len: usize,
}

/// What the pixels of one register tile read.
pub(super) struct Tile {
    pub segments: [Segment; MAX_SEGMENTS],
    pub n_segments: usize,
    /// Where few input channels would make many short segments and taps do not lie side by side, the whole neighbourhood of each pixel is
    /// copied here.
    pub patch: [f32; MAX_ROWS * MAX_PATCH],
}

impl Tile {
    fn new() -> Tile {
        let segment = Segment { x: [std::ptr::null(); MAX_ROWS], row: 0, len: 0 };
        Tile { segments: [segment; MAX_SEGMENTS], n_segments: 0, patch: [0.0; MAX_ROWS * MAX_PATCH] }
    }

    #[inline(always)]
    pub fn push(&mut self, x: [*const f32; MAX_ROWS], row: usize, len: usize) {
        self.segments[self.n_segments] = Segment { x, row, len };
        self.n_segments += 1;
    }

    /// One segment over the first `len` floats of each pixel's patch. The pointers into this tile stay valid until it is borrowed
    /// exclusively again, which is when the next pixels are gathered.
    #[inline(always)]
    pub fn push_patch(&mut self, len: usize) {
        let patch = self.patch.as_ptr();
        let x = std::array::from_fn(|m| patch.wrapping_add(m * MAX_PATCH));
        // Not by `push`, whose exclusive borrow of the whole tile would end the pointers' right to read.
        self.segments[self.n_segments] = Segment { x, row: 0, len };
        self.n_segments += 1;
    }
}

/// Where output pixels read and write.
pub(super) trait Pixels: Sync {
    /// Fills `tile` (whose segments are empty) for the pixels `first .. first + rows`, of which only `count` exist; the others repeat the last one.
    ///
    /// # Safety
    /// Every pointer that it pushes must be valid for its segment's length while the product runs.
    unsafe fn gather(&self, tile: &mut Tile, first: usize, count: usize, rows: usize);

    /// The index of the output pixel that pixel `p` writes.
    fn target(&self, p: usize) -> usize;
}

/// An output image, or a strided part of one.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The float that target pixel 0 writes first.
    pub start: *mut f32,
    /// Floats from the start that may be written.
    pub len: usize,
    pub channels: usize,
}

impl Target {
    pub fn new(out: &mut [f32], channels: usize) -> Target {
        Target { start: out.as_mut_ptr(), len: out.len(), channels }
    }

    /// The same image from `floats` on.
    pub fn offset(self, floats: usize) -> Target {
        assert!(floats <= self.len, "a target inside its image");
        // SAFETY: the offset was just checked.
        Target { start: unsafe { self.start.add(floats) }, len: self.len - floats, channels: self.channels }
    }
}

/// One implicit product.
pub(super) struct Gemm<'a, P> {
    pub level: Level,
    pub pixels: &'a P,
    pub n_pixels: usize,
    /// Rows of packed weights: taps times input channels.
    pub depth: usize,
    /// Input channels of a pixel, for cutting the work.
    pub channels_in: usize,
    /// Packed weights of all targets, one after another.
    pub packed: &'a [f32],
    pub targets: &'a [Target],
    pub bias: Option<&'a [f32]>,
    /// Whether negative results become 0.
    pub relu: bool,
}

// SAFETY: the targets are written at distinct places by distinct tasks (one owner per pixel and column block).
unsafe impl<P: Sync> Sync for Gemm<'_, P> {}

/// Floats of the packed weights of `channels` output channels.
pub(super) fn packed_len(level: Level, depth: usize, channels: usize) -> usize {
    channels.next_multiple_of(level.tile_columns()) * depth
}

impl<P: Pixels> Gemm<'_, P> {
    /// Computes all targets.
    pub fn run(&self) {
        let columns = self.level.tile_columns();
        let n_blocks: usize = self.targets.iter().map(|t| t.channels.div_ceil(columns)).sum();
        assert!(self.packed.len() >= n_blocks * columns * self.depth, "packed weights of {n_blocks} blocks");
        let task_pixels = (TASK_FLOATS / self.channels_in.max(1)).clamp(96, 4096) / MAX_ROWS * MAX_ROWS;
        let n_pixel_tasks = self.n_pixels.div_ceil(task_pixels);
        let n_groups = MIN_TASKS.div_ceil(n_pixel_tasks).min(n_blocks);
        let group = n_blocks.div_ceil(n_groups);
        for_each(n_pixel_tasks * n_groups, |task| {
            let first = task / n_groups * task_pixels;
            let blocks = (task % n_groups * group).min(n_blocks)..((task % n_groups + 1) * group).min(n_blocks);
            let pixels = first..(first + task_pixels).min(self.n_pixels);
            dispatch(self.level, Task { gemm: self, pixels, blocks });
        });
    }
}

/// The target of column block `block`, and the block's first channel there.
pub(super) fn locate(targets: &[Target], columns: usize, mut block: usize) -> (Target, usize) {
    for &target in targets {
        let n = target.channels.div_ceil(columns);
        if block < n {
            return (target, block * columns);
        }
        block -= n;
    }
    unreachable!("block numbers are below the number of blocks")
}

/// Some pixels times some column blocks.
struct Task<'a, P> {
    gemm: &'a Gemm<'a, P>,
    pixels: std::ops::Range<usize>,
    blocks: std::ops::Range<usize>,
}

impl<P: Pixels> Kernel for Task<'_, P> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            match L::TILE_ROWS {
                12 => self.tiles::<L, 12>(),
                6 => self.tiles::<L, 6>(),
                _ => self.tiles::<L, 4>(),
            }
        }
    }
}

impl<P: Pixels> Task<'_, P> {
    /// Column blocks outside, so that a block's weights stay in the cache while all pixels pass.
    #[inline(always)]
    unsafe fn tiles<L: Lanes, const M: usize>(self) {
        let gemm = self.gemm;
        let columns = 2 * L::N;
        let mut tile = Tile::new();
        for block in self.blocks {
            let (target, channel) = locate(gemm.targets, columns, block);
            let weights = gemm.packed[block * columns * gemm.depth..][..columns * gemm.depth].as_ptr();
            let bias = block_bias(gemm.bias, channel, columns);
            for first in self.pixels.clone().step_by(M) {
                let count = M.min(self.pixels.end - first);
                tile.n_segments = 0;
                // SAFETY: `gather` promises valid pointers; the weights of the block were bounds-checked above.
                let sums = unsafe {
                    gemm.pixels.gather(&mut tile, first, count, M);
                    multiply::<L, M>(&tile, weights, &bias)
                };
                let valid = columns.min(target.channels - channel);
                for (m, row) in sums.iter().enumerate().take(count) {
                    let at = gemm.pixels.target(first + m) * target.channels + channel;
                    assert!(at + valid <= target.len, "output pixel outside its image");
                    // SAFETY: bounds were just checked, and this task alone owns these pixels and channels.
                    unsafe {
                        let row = if gemm.relu { [row[0].relu(), row[1].relu()] } else { *row };
                        store(&row, target.start.add(at), valid);
                    }
                }
            }
        }
    }
}

/// The bias of the block of `columns` channels from `channel` on, zeros behind it.
#[inline(always)]
pub(super) fn block_bias(bias: Option<&[f32]>, channel: usize, columns: usize) -> [f32; MAX_COLUMNS] {
    let mut padded = [0.0; MAX_COLUMNS];
    if let Some(bias) = bias {
        let n = columns.min(bias.len() - channel);
        padded[..n].copy_from_slice(&bias[channel..channel + n]);
    }
    padded
}

/// The micro-kernel: M pixels times two vectors of channels, all sums in registers.
#[inline(always)]
unsafe fn multiply<L: Lanes, const M: usize>(tile: &Tile, weights: *const f32, bias: &[f32; MAX_COLUMNS]) -> [[L; 2]; M] {
    // SAFETY: the caller has the level, valid segments, and weights of `row + len` rows for each segment.
    unsafe {
        let mut sums = [[L::load(bias.as_ptr()), L::load(bias.as_ptr().add(L::N))]; M];
        for segment in &tile.segments[..tile.n_segments] {
            let x: [*const f32; M] = std::array::from_fn(|m| segment.x[m]);
            let mut w = weights.add(segment.row * 2 * L::N);
            for k in 0..segment.len {
                let (w0, w1) = (L::load(w), L::load(w.add(L::N)));
                for m in 0..M {
                    let value = L::splat(*x[m].add(k));
                    sums[m] = [value.mul_add(w0, sums[m][0]), value.mul_add(w1, sums[m][1])];
                }
                w = w.add(2 * L::N);
            }
        }
        sums
    }
}

/// Writes the first `valid` floats of two vectors.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes>(row: &[L; 2], at: *mut f32, valid: usize) {
    // SAFETY: the caller has the level and `valid` writable floats.
    unsafe {
        if valid == 2 * L::N {
            row[0].store(at);
            row[1].store(at.add(L::N));
        } else {
            let mut floats = [0.0f32; MAX_COLUMNS];
            row[0].store(floats.as_mut_ptr());
            row[1].store(floats.as_mut_ptr().add(L::N));
            std::ptr::copy_nonoverlapping(floats.as_ptr(), at, valid);
        }
    }
}

/// Writes the first `valid` floats of a vector.
#[inline(always)]
pub(super) unsafe fn store_one<L: Lanes>(value: L, at: *mut f32, valid: usize) {
    // SAFETY: as above.
    unsafe {
        if valid == L::N {
            value.store(at);
        } else {
            let mut floats = [0.0f32; MAX_COLUMNS];
            value.store(floats.as_mut_ptr());
            std::ptr::copy_nonoverlapping(floats.as_ptr(), at, valid);
        }
    }
}

/// Which way weights [T, Ci, Co] are read when packed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Packing {
    /// Columns are co, rows (tap, ci): forward.
    Forward,
    /// Columns are ci from `.0` on, rows (tap, co): gradient of the data of a transposed convolution.
    Transposed(usize),
    /// As `Transposed`, taps in reverse order: gradient of the data of a convolution.
    Flipped(usize),
}

/// Packs `channels` columns of weights [taps, ci, co] into [block][row][tile_columns], in parallel.
pub(super) fn pack(level: Level, packing: Packing, w: &[f32], [taps, ci, co]: [usize; 3], channels: usize, packed: &mut [f32]) {
    assert_eq!(w.len(), taps * ci * co, "weights of {taps} taps");
    let columns = level.tile_columns();
    let rows_per_tap = if packing == Packing::Forward { ci } else { co };
    let n_blocks = channels.div_ceil(columns);
    // A task is one tap of one block: neighbouring pieces of the packed array.
    let piece = rows_per_tap * columns;
    packed[..n_blocks * taps * piece].par_chunks_mut(piece).enumerate().with_max_len(1).for_each(|(i, out)| {
        let (first, tap) = (i / taps * columns, i % taps);
        let valid = columns.min(channels - first);
        match packing {
            Packing::Forward => pack_rows(&w[tap * ci * co..][..ci * co], co, first, valid, columns, out),
            Packing::Transposed(from) => pack_columns(&w[(tap * ci + from + first) * co..], co, valid, columns, out),
            Packing::Flipped(from) => pack_columns(&w[((taps - 1 - tap) * ci + from + first) * co..], co, valid, columns, out),
        }
    });
}

/// Multiplies each column of packed weights of `rows` rows by its channel's factor.
pub(super) fn scale_columns(level: Level, rows: usize, scale: &[f32], packed: &mut [f32]) {
    let columns = level.tile_columns();
    packed.par_chunks_mut(rows * columns).zip(scale.par_chunks(columns)).with_max_len(1).for_each(|(block, scale)| {
        for row in block.chunks_exact_mut(columns) {
            row.iter_mut().zip(scale).for_each(|(w, s)| *w *= s);
        }
    });
}

fn pack_rows(w: &[f32], co: usize, first: usize, valid: usize, columns: usize, out: &mut [f32]) {
    for (row, out) in w.chunks_exact(co).zip(out.chunks_exact_mut(columns)) {
        out[..valid].copy_from_slice(&row[first..first + valid]);
        out[valid..].fill(0.0);
    }
}

fn pack_columns(w: &[f32], co: usize, valid: usize, columns: usize, out: &mut [f32]) {
    if valid < columns {
        out.fill(0.0);
    }
    // Eight rows at a time: each of the output's cache lines is then still warm when its next column comes.
    for first in (0..co).step_by(8) {
        let rows = first..(first + 8).min(co);
        for j in 0..valid {
            for k in rows.clone() {
                out[k * columns + j] = w[j * co + k];
            }
        }
    }
}
