//! Gradients of convolution weights in the transformed domain: the transpose of the convolution's four lines.
//!
//! ```text
//! V = Bᵀ d B, E = A dy Aᵀ       for the patch and the outputs of each tile
//! dU = sum over tiles of Vᵀ E   for each of the 36 points, [ci][co]
//! dw = Gᵀ dU G
//! ```
//!
//! Where dU is small, tiles are cut into parts whose sums lie in caches of their own and are added in the end; the parts are given by
//! the shape alone. Where it is large there is one sum, and threads share the points.

use super::super::gemm::store_one;
use super::super::pool::{for_each, own_place};
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::product::{GROUP, outer_products};
use super::tiles::{Tiles, Transformed, floats, point_step, transform_patches, transform_tiles};
use super::transform::{self, IN, POINTS, TAPS, WeightsGrad, both_ways};
use crate::tape::Shape;
use std::ops::Range;

/// Bytes of dU up to which parts have sums of their own.
const RESIDENT_SUMS: usize = 1 << 20;
/// Most parts that tiles are cut into where they have; few in tests, which then see parts of several blocks.
const PARTS: usize = if cfg!(test) { 3 } else { 32 };
/// Fewest tiles of a part.
const MIN_TILES: usize = 16;
/// Bytes of V and E of a block of tiles.
const BLOCK_BYTES: usize = if cfg!(test) { 1 << 17 } else { 3 << 18 };
/// Bytes of V and E of a chunk that threads share; few in tests, which then see several chunks.
const CHUNK_BYTES: usize = if cfg!(test) { 1 << 20 } else { 12 << 20 };
/// Tiles that a task transforms where threads share the lines.
const SHARED_TILES: usize = 16;

/// One gradient.
pub(in super::super) struct WeightGrad<'a> {
    pub level: Level,
    pub image: Shape,
    pub images: [&'a [f32]; 2],
    /// 0 for an image that is not there.
    pub channels: [usize; 2],
    pub dy: &'a [f32],
    pub channels_out: usize,
}

/// How a gradient is cut.
#[derive(Clone, Copy)]
struct Cut {
    ci: usize,
    /// A multiple of the register tile's columns.
    co: usize,
    columns: usize,
    zeros: usize,
    parts: usize,
    /// Tiles of a block or of a chunk.
    tiles: usize,
    /// Whether parts have sums of their own.
    apart: bool,
}

impl Cut {
    fn new(level: Level, image: Shape, ci: usize, channels_out: usize) -> Cut {
        let columns = level.tile_columns();
        let co = channels_out.next_multiple_of(columns);
        let total = Tiles::new(image).len();
        let apart = POINTS * ci * co * size_of::<f32>() <= RESIDENT_SUMS;
        let budget = if apart { BLOCK_BYTES } else { CHUNK_BYTES };
        let tiles = (budget / (POINTS * size_of::<f32>() * (ci + co))).clamp(16, total.max(16));
        let parts = if apart { (total / MIN_TILES).clamp(1, PARTS) } else { 1 };
        Cut { ci, co, columns, zeros: ci.max(co).next_multiple_of(16), parts, tiles, apart }
    }

    /// Floats of one dU: `[point][ci][co]`.
    fn sums(self) -> usize {
        floats(self.ci, self.co, self.co)
    }

    /// Floats of V and E.
    fn scratch(self) -> usize {
        floats(self.tiles, self.ci, GROUP) + floats(self.tiles, self.co, self.columns)
    }
}

/// Bytes of a gradient's workspace.
pub(in super::super) fn workspace(level: Level, threads: usize, image: Shape, ci: usize, channels_out: usize) -> usize {
    let cut = Cut::new(level, image, ci, channels_out);
    (cut.zeros + cut.parts * cut.sums() + cut.scratch() * if cut.apart { threads } else { 1 }) * size_of::<f32>()
}

/// A part of the workspace, or dw, that tasks write at places of their own.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: each use says which places a task owns.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl WeightGrad<'_> {
    /// Writes dw [3, 3, Ci, Co]; `workspace` has the floats that [`workspace`] asks for.
    pub fn run(&self, workspace: &mut [f32], dw: &mut [f32]) {
        let ci = self.channels[0] + self.channels[1];
        let cut = Cut::new(self.level, self.image, ci, self.channels_out);
        let copies = if cut.apart { rayon::current_num_threads() } else { 1 };
        assert!(workspace.len() >= cut.zeros + cut.parts * cut.sums() + copies * cut.scratch(), "the workspace of a gradient");
        for (data, channels) in self.images.iter().chain([&self.dy]).zip([self.channels[0], self.channels[1], self.channels_out])
        {
            assert_eq!(data.len(), self.image.pixels() * channels, "an image of {channels} channels");
        }
        assert_eq!(dw.len(), 9 * ci * self.channels_out, "a gradient of nine taps");
        let (zeros, rest) = workspace.split_at_mut(cut.zeros);
        zeros.fill(0.0);
        let (sums, scratch) = rest.split_at_mut(cut.parts * cut.sums());
        let tiles = Tiles::new(self.image);
        let (sums, scratch) = (Shared(sums.as_mut_ptr()), Shared(scratch.as_mut_ptr()));
        let work = Work { gradient: self, cut, tiles, zeros, sums, scratch, dw: Shared(dw.as_mut_ptr()) };
        if cut.apart {
            work.apart()
        } else {
            work.together()
        }
        for_each(ci, |row| dispatch(self.level, CombineTask { work: &work, row }));
    }
}

struct Work<'a> {
    gradient: &'a WeightGrad<'a>,
    cut: Cut,
    tiles: Tiles,
    zeros: &'a [f32],
    sums: Shared,
    scratch: Shared,
    dw: Shared,
}

impl Work<'_> {
    /// Each thread sums the tiles of a part.
    fn apart(&self) {
        for_each(self.cut.parts, |part| {
            let scratch = self.scratch.0.wrapping_add(own_place() * self.cut.scratch());
            dispatch(self.gradient.level, PartTask { work: self, part, scratch });
        });
    }

    /// All threads transform a chunk, then share its points.
    fn together(&self) {
        let (level, total) = (self.gradient.level, self.tiles.len());
        for first in (0..total).step_by(self.cut.tiles) {
            let chunk = first..(first + self.cut.tiles).min(total);
            for_each(chunk.len().div_ceil(SHARED_TILES), |i| {
                let place = i * SHARED_TILES;
                let tiles = first + place..(first + place + SHARED_TILES).min(chunk.end);
                dispatch(level, TransformTask { work: self, tiles, place });
            });
            // A task is one group of rows of one point of dU.
            let groups = self.cut.ci.div_ceil(GROUP);
            for_each(POINTS * groups, |task| {
                let (point, group, n_tiles, is_first) = (task / groups, task % groups, chunk.len(), first == 0);
                dispatch(level, ProductTask { work: self, point, group, n_tiles, is_first });
            });
        }
    }

    /// V and E.
    fn transformed(&self, scratch: *mut f32) -> [Transformed; 2] {
        let Cut { tiles, ci, co, columns, .. } = self.cut;
        let v = Transformed::new(scratch, tiles, ci, GROUP);
        [v, Transformed::new(scratch.wrapping_add(floats(tiles, ci, GROUP)), tiles, co, columns)]
    }

    /// V and E of `tiles`, from tile `place` on.
    #[inline(always)]
    unsafe fn transform<L: Lanes>(&self, tiles: Range<usize>, scratch: *mut f32, place: usize) {
        let gradient = self.gradient;
        let [v, e] = self.transformed(scratch);
        let mut from = 0;
        // SAFETY: lengths were checked by `run`; the rest is passed on.
        unsafe {
            for (data, channels) in gradient.images.iter().zip(gradient.channels) {
                transform_patches::<L>(self.tiles, tiles.clone(), (data, channels), self.zeros, v, (place, from));
                from += channels;
            }
            transform_tiles::<L>(self.tiles, tiles, (gradient.dy, gradient.channels_out), self.zeros, e, place);
        }
    }

    /// Adds Vᵀ E of one point for tiles 0 .. `n_tiles` to the rows of group `group` of its dU, or writes it there if `is_first`.
    #[inline(always)]
    unsafe fn products<L: Lanes>(
        &self,
        (point, group): (usize, usize),
        scratch: *mut f32,
        sums: *mut f32,
        n_tiles: usize,
        is_first: bool,
    ) {
        let cut = self.cut;
        let [v, e] = self.transformed(scratch);
        let rows = GROUP.min(cut.ci - group * GROUP);
        let blocks = rows.div_ceil(L::TILE_ROWS);
        let to = sums.wrapping_add(point * point_step(cut.ci, cut.co, cut.co) + group * GROUP * cut.co);
        for column in (0..cut.co).step_by(2 * L::N) {
            for block in 0..blocks {
                // Blocks of nearly one size waste no arithmetic on a narrow last one.
                let (first, end) = (block * rows / blocks, (block + 1) * rows / blocks);
                let (v, e) = (v.at(point, 0, group * GROUP + first).cast_const(), e.at(point, 0, column).cast_const());
                // SAFETY: passed on; rows and columns lie in V, E and dU.
                unsafe { of_rows::<L>(end - first, v, e, n_tiles, to.wrapping_add(first * cut.co + column), cut.co, is_first) };
            }
        }
    }
}

/// [`outer_products`] with a number of rows that the compiler knows.
#[inline(always)]
unsafe fn of_rows<L: Lanes>(rows: usize, v: *const f32, e: *const f32, n: usize, to: *mut f32, step: usize, is_first: bool) {
    // SAFETY: passed on.
    unsafe {
        match rows {
            1 => outer_products::<L, 1>(v, e, n, to, step, is_first),
            2 => outer_products::<L, 2>(v, e, n, to, step, is_first),
            3 => outer_products::<L, 3>(v, e, n, to, step, is_first),
            4 => outer_products::<L, 4>(v, e, n, to, step, is_first),
            5 => outer_products::<L, 5>(v, e, n, to, step, is_first),
            6 => outer_products::<L, 6>(v, e, n, to, step, is_first),
            7 => outer_products::<L, 7>(v, e, n, to, step, is_first),
            8 => outer_products::<L, 8>(v, e, n, to, step, is_first),
            9 => outer_products::<L, 9>(v, e, n, to, step, is_first),
            10 => outer_products::<L, 10>(v, e, n, to, step, is_first),
            11 => outer_products::<L, 11>(v, e, n, to, step, is_first),
            _ => outer_products::<L, 12>(v, e, n, to, step, is_first),
        }
    }
}

/// The sum over one part's tiles.
struct PartTask<'a> {
    work: &'a Work<'a>,
    part: usize,
    scratch: *mut f32,
}

impl Kernel for PartTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let PartTask { work, part, scratch } = self;
        let cut = work.cut;
        let sums = work.sums.0.wrapping_add(part * cut.sums());
        let total = work.tiles.len();
        let tiles = part * total / cut.parts..(part + 1) * total / cut.parts;
        // Blocks of nearly one size.
        let step = tiles.len().div_ceil(tiles.len().div_ceil(cut.tiles));
        for first in tiles.clone().step_by(step) {
            let block = first..(first + step).min(tiles.end);
            // SAFETY: passed on; scratch and sums are this task's own.
            unsafe {
                work.transform::<L>(block.clone(), scratch, 0);
                for point in 0..POINTS {
                    for group in 0..cut.ci.div_ceil(GROUP) {
                        work.products::<L>((point, group), scratch, sums, block.len(), first == tiles.start);
                    }
                }
            }
        }
    }
}

/// V and E of some tiles of a chunk.
struct TransformTask<'a> {
    work: &'a Work<'a>,
    tiles: Range<usize>,
    place: usize,
}

impl Kernel for TransformTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on; this task alone writes its tiles.
        unsafe { self.work.transform::<L>(self.tiles, self.work.scratch.0, self.place) }
    }
}

/// A group of rows of one point of dU, summed over a chunk.
struct ProductTask<'a> {
    work: &'a Work<'a>,
    point: usize,
    group: usize,
    n_tiles: usize,
    is_first: bool,
}

impl Kernel for ProductTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let work = self.work;
        // SAFETY: passed on; this task alone writes its rows.
        unsafe { work.products::<L>((self.point, self.group), work.scratch.0, work.sums.0, self.n_tiles, self.is_first) }
    }
}

/// dw for one input channel: the parts' sums, transformed.
struct CombineTask<'a> {
    work: &'a Work<'a>,
    row: usize,
}

impl Kernel for CombineTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Work { gradient, cut, sums, dw, .. } = *self.work;
        let row = self.row;
        for column in (0..gradient.channels_out).step_by(L::N) {
            let n = L::N.min(gradient.channels_out - column);
            // SAFETY: the caller has the level; dU's rows are padded to whole vectors; this task alone writes its rows of dw.
            unsafe {
                let at = sums.0.add(row * cut.co + column);
                let step = point_step(cut.ci, cut.co, cut.co);
                let mut u: [[L; IN]; IN] = transform::load(at, step);
                for part in 1..cut.parts {
                    let other: [[L; IN]; IN] = transform::load(at.add(part * cut.sums()), step);
                    for (sum, value) in u.iter_mut().flatten().zip(other.iter().flatten()) {
                        *sum = sum.add(*value);
                    }
                }
                let taps = both_ways::<WeightsGrad, L, IN, TAPS>(&u);
                for (tap, value) in taps.iter().flatten().enumerate() {
                    store_one(*value, dw.0.add((tap * cut.ci + row) * gradient.channels_out + column), n);
                }
            }
        }
    }
}
