//! Gradients of weights: sums over pixels of outer products.
//!
//! ```text
//! dw[tap, ci, co] = sum over p of  dy[p, co] x[p shifted by tap, ci]
//! ```
//!
//! Positions are what is summed over here, so that the left side is dy transposed, `[block of co][step][32 co][32 positions]`, and the
//! right side x with its positions by twos, `[block of features][pair][32][2]`. A tap shifts x by whole positions: by an odd number
//! of them, pairs begin at odd positions, of which there is a second copy. Between rows dy is 0 and x is whatever stands there, so that
//! a value of x that is not finite spoils taps that do not see it. Tasks are chunks of bands of rows, where few weights make that
//! cheap, times groups of channels of both sides; each leaves partial sums, which are added in the chunks' order.

use super::super::pool::own_place;
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::panel::{Grid, Part, Views, Window};
use super::product::{BLOCK, Left, Multiplier, SIDE, Sums};
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of a band's panels: half of the level-2 cache of the processors that have AMX.
/// Few in tests, which then see several bands and several chunks of them.
const BAND_BYTES: usize = if cfg!(test) { 1 << 14 } else { 1 << 20 };
/// Bytes of all partial sums.
const PARTIAL_BYTES: usize = if cfg!(test) { 1 << 17 } else { 8 << 20 };
/// Tasks that the work is cut into by channels, where chunks are few; up to twice as many chunks, where weights are few.
const TASKS: usize = 16;

/// One gradient. With a transposed convolution, features of `dy` are those of its four taps, one after another.
pub struct WeightGrad<'a> {
    pub level: Level,
    pub kernel: usize,
    pub x: Views<'a>,
    pub dy: Views<'a>,
    /// Output channels of a tap.
    pub co: usize,
}

/// How a gradient is cut.
#[derive(Clone, Copy)]
struct Cut {
    window: Window,
    /// Images, rows, columns.
    size: [usize; 3],
    /// Blocks of dy's and of x's features.
    blocks: [usize; 2],
    /// Of these, those of a task.
    group: [usize; 2],
    /// Images and rows of a band: several whole images, or some rows of one.
    band: [usize; 2],
    /// Bands of a chunk.
    chunk: usize,
}

impl Cut {
    fn new(kernel: usize, features: usize, features_dy: usize, size: [usize; 3]) -> Cut {
        let window = Window::new(kernel, features);
        let blocks = [features_dy.div_ceil(SIDE), window.blocks()];
        let mut cut = Cut { window, size, blocks, group: blocks, band: [1, 1], chunk: 1 };
        let most_chunks = (PARTIAL_BYTES / (cut.partial_len() * size_of::<f32>())).clamp(1, 2 * TASKS);
        while cut.groups()[0] * cut.groups()[1] * most_chunks < TASKS && cut.group != [1, 1] {
            let wider = usize::from(cut.group[1] > cut.group[0]);
            cut.group[wider] = cut.group[wider].div_ceil(2);
        }
        cut.band = cut.band();
        let bands = cut.bands();
        cut.chunk = bands.div_ceil(most_chunks.min(bands));
        cut
    }

    fn band(self) -> [usize; 2] {
        let [images, height, width] = self.size;
        // A panel of either side, and its rearranged form: one of dy, two of x.
        let bytes = SIDE * size_of::<bf16>() * (2 * self.group[0] + 3 * self.group[1]);
        let most = (BAND_BYTES / bytes).max(SIDE);
        let one = Grid { window: self.window, width, rows: height, images: 1 };
        if one.image_pitch() <= most {
            let images_of_band = (most / one.image_pitch()).min(images);
            return [images.div_ceil(images.div_ceil(images_of_band)), height];
        }
        let rows = (most / one.pitch()).saturating_sub(one.image_rows() - height).clamp(1, height);
        [1, height.div_ceil(height.div_ceil(rows))]
    }

    fn grid(self) -> Grid {
        Grid { window: self.window, width: self.size[2], rows: self.band[1], images: self.band[0] }
    }

    fn bands(self) -> usize {
        self.size[0].div_ceil(self.band[0]) * self.size[1].div_ceil(self.band[1])
    }

    fn chunks(self) -> usize {
        self.bands().div_ceil(self.chunk)
    }

    fn groups(self) -> [usize; 2] {
        [0, 1].map(|side| self.blocks[side].div_ceil(self.group[side]))
    }

    /// Sums of a chunk: `[block of dy][block of x][distance][32 co][32 features]`.
    fn partial_len(self) -> usize {
        self.blocks[0] * self.blocks[1] * self.window.distances() * BLOCK
    }

    /// Steps of a band's products.
    fn steps(self, grid: Grid) -> usize {
        ((grid.images - 1) * grid.image_pitch() + grid.rows * grid.pitch()).div_ceil(SIDE)
    }

    /// Numbers of: a panel of either side, dy transposed, one of the two copies of x by pairs.
    fn scratch(self) -> [usize; 3] {
        let grid = self.grid();
        let panel = grid.panel_len(self.group[0].max(self.group[1]));
        [panel, self.group[0] * self.steps(grid) * BLOCK, grid.panel_len(self.group[1])]
    }

    fn scratch_len(self) -> usize {
        let [panel, left, right] = self.scratch();
        panel + left + 2 * right
    }
}

/// Bytes of the workspace of a gradient over images of `size` (images, rows, columns), `features` of x and `features_dy` of dy.
pub fn workspace(threads: usize, kernel: usize, features: usize, features_dy: usize, size: [usize; 3]) -> usize {
    let cut = Cut::new(kernel, features, features_dy, size);
    cut.chunks() * cut.partial_len() * size_of::<f32>() + threads * cut.scratch_len() * size_of::<bf16>()
}

impl WeightGrad<'_> {
    /// Writes dw `[taps, ci, co]`; `workspace` has what [`workspace`] asks for.
    pub fn run(&self, dw: &mut [f32], workspace: &mut [f32]) {
        let cut = Cut::new(self.kernel, self.x.features(), self.dy.features(), self.x.size());
        assert_eq!(self.x.size(), self.dy.size(), "images of one size");
        let (partials, rest) = workspace.split_at_mut(cut.chunks() * cut.partial_len());
        let scratch: &mut [bf16] = bytemuck::cast_slice_mut(rest);
        assert!(scratch.len() >= rayon::current_num_threads() * cut.scratch_len(), "the workspace of a gradient");
        let work = Work { gradient: self, cut, partials: partials.as_mut_ptr(), scratch: scratch.as_mut_ptr() };
        let [groups_dy, groups_x] = cut.groups();
        (0..cut.chunks() * groups_dy * groups_x).into_par_iter().for_each(|task| {
            let (group, chunk) = (task % (groups_dy * groups_x), task / (groups_dy * groups_x));
            let blocks = [group / groups_x, group % groups_x];
            let blocks = [0, 1].map(|side| {
                let first = blocks[side] * cut.group[side];
                first..(first + cut.group[side]).min(cut.blocks[side])
            });
            dispatch(self.level, Task { work: &work, chunk, blocks });
        });
        self.add_chunks(cut, partials, dw);
    }

    /// Adds the chunks in order, and turns blocks of `[co][feature]` into rows of dw.
    fn add_chunks(&self, cut: Cut, partials: &[f32], dw: &mut [f32]) {
        let taps_of_dy = self.dy.features() / self.co;
        let taps = cut.window.kernel * cut.window.kernel * taps_of_dy;
        assert_eq!(dw.len(), taps * self.x.features() * self.co, "weights of all taps");
        let rows = Rows { gradient: self, cut, partials, dw: dw.as_mut_ptr() };
        let blocks = cut.blocks[0] * cut.blocks[1] * cut.window.distances();
        (0..blocks).into_par_iter().for_each(|block| dispatch(self.level, RowsOfBlock { rows: &rows, block }));
    }
}

/// dw, to which each block of sums writes places of its own.
struct Rows<'a> {
    gradient: &'a WeightGrad<'a>,
    cut: Cut,
    partials: &'a [f32],
    dw: *mut f32,
}

// SAFETY: as said above.
unsafe impl Sync for Rows<'_> {}

struct RowsOfBlock<'a> {
    rows: &'a Rows<'a>,
    block: usize,
}

impl Kernel for RowsOfBlock<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Rows { gradient, cut, partials, dw } = *self.rows;
        let (window, co, ci) = (cut.window, gradient.co, gradient.x.features());
        let mut sums = Sums([0.0; BLOCK]);
        let mut turned = Sums([0.0; BLOCK]);
        // SAFETY: the caller has the level; vectors lie in blocks, which are N times some vectors long.
        unsafe {
            for chunk in partials.chunks_exact(cut.partial_len()) {
                let chunk = chunk[self.block * BLOCK..][..BLOCK].as_ptr();
                for i in (0..BLOCK).step_by(L::N) {
                    let sum = sums.0.as_mut_ptr().add(i);
                    L::load(sum).add(L::load(chunk.add(i))).store(sum);
                }
            }
            for quarter in 0..4 {
                let (row, column) = (quarter / 2 * 16, quarter % 2 * 16);
                let from = sums.0.as_ptr().add(row * SIDE + column);
                let to = turned.0.as_mut_ptr().add(column * SIDE + row);
                L::transpose_words(from.cast(), SIDE, to.cast(), SIDE);
            }
        }
        let distance = self.block % window.distances();
        let block_x = self.block / window.distances() % cut.blocks[1];
        let block_dy = self.block / window.distances() / cut.blocks[1];
        for lane in 0..SIDE.min(window.expanded() - block_x * SIDE) {
            let (tap_x, feature) = window.source(distance, block_x * SIDE + lane);
            // Columns of the block can belong to two taps of dy.
            let mut column = block_dy * SIDE;
            let end = (column + SIDE).min(gradient.dy.features());
            while column < end {
                let (tap_dy, from) = (column / co, column % co);
                let n = (co - from).min(end - column);
                let at = ((tap_x + tap_dy) * ci + feature) * co + from;
                let from = &turned.0[lane * SIDE + column - block_dy * SIDE..][..n];
                // SAFETY: the place lies in dw, whose length was checked, and belongs to this block alone.
                unsafe { std::slice::from_raw_parts_mut(dw.add(at), n) }.copy_from_slice(from);
                column += n;
            }
        }
    }
}

struct Work<'a> {
    gradient: &'a WeightGrad<'a>,
    cut: Cut,
    partials: *mut f32,
    /// Of each thread.
    scratch: *mut bf16,
}

// SAFETY: threads write to scratch of their own, and tasks to partial sums of their own.
unsafe impl Sync for Work<'_> {}

/// Some bands, and some blocks of both sides.
struct Task<'a> {
    work: &'a Work<'a>,
    chunk: usize,
    blocks: [Range<usize>; 2],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let cut = self.work.cut;
        // SAFETY: `run` has checked the room of all threads.
        let scratch =
            unsafe { std::slice::from_raw_parts_mut(self.work.scratch.add(own_place() * cut.scratch_len()), cut.scratch_len()) };
        let multiplier = Multiplier::new(self.work.gradient.level);
        let bands = self.chunk * cut.chunk..((self.chunk + 1) * cut.chunk).min(cut.bands());
        for band in bands.clone() {
            // SAFETY: passed on.
            unsafe { self.add_band::<L>(&multiplier, band, band == bands.start, scratch) };
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn add_band<L: Lanes>(&self, multiplier: &Multiplier, band: usize, first: bool, scratch: &mut [bf16]) {
        let Work { gradient, cut, partials, .. } = *self.work;
        let [images, height, _] = cut.size;
        let bands_of_image = height.div_ceil(cut.band[1]);
        let (first_image, first_row) = (band / bands_of_image * cut.band[0], band % bands_of_image * cut.band[1]);
        let grid =
            Grid { images: cut.band[0].min(images - first_image), rows: cut.band[1].min(height - first_row), ..cut.grid() };
        let steps = cut.steps(grid);
        let [panel_len, left_len, right_len] = cut.scratch();
        let (panel, rest) = scratch.split_at_mut(panel_len);
        let (left, right) = rest.split_at_mut(left_len);
        let [blocks_dy, blocks_x] = self.blocks.clone();

        let (views, window, valid_rows) = (gradient.dy, Window::new(1, gradient.dy.features()), first_row..first_row + grid.rows);
        let part = Part { views, window, first_image, first_row, blocks: blocks_dy.clone(), valid_rows };
        // SAFETY: the caller has the level.
        unsafe { transpose_part::<L>(&part, grid, panel, left, steps) };
        let (views, window, valid_rows) = (gradient.x, cut.window, 0..height);
        let part = Part { views, window, first_image, first_row, blocks: blocks_x.clone(), valid_rows };
        // SAFETY: the caller has the level.
        unsafe { pair_part::<L>(&part, grid, panel, right.split_at_mut(right_len).into()) };

        for (i, block_dy) in blocks_dy.enumerate() {
            for (j, block_x) in blocks_x.clone().enumerate() {
                for distance in 0..window.distances() {
                    let block = (block_dy * cut.blocks[1] + block_x) * window.distances() + distance;
                    let shift = grid.distance(distance);
                    let from = shift % 2 * right_len + j * grid.plane() * SIDE + shift / 2 * 2 * SIDE;
                    assert!(from + steps * BLOCK <= 2 * right_len, "pairs behind the last position");
                    // SAFETY: the caller has the level; both sides have `steps` steps, and the block of sums is this task's own.
                    unsafe {
                        let sums = partials.add(self.chunk * cut.partial_len() + block * BLOCK);
                        let start = left.as_ptr().add(i * steps * BLOCK);
                        let left = Left { start, distances: &[0], count: steps, pitch: BLOCK };
                        multiplier.multiply::<L>(&left, right.as_ptr().add(from), sums, !first);
                    }
                }
            }
        }
    }
}

/// Lays a part out as `steps` steps of the left side for each block, row by row: what was just filled is then at hand.
#[inline(always)]
unsafe fn transpose_part<L: Lanes>(part: &Part<'_>, grid: Grid, panel: &mut [bf16], out: &mut [bf16], steps: usize) {
    part.begin(grid, panel);
    let mut done = 0;
    let rows = grid.images * grid.image_rows();
    for row in 0..rows {
        // SAFETY: begun above.
        unsafe { part.fill_row(grid, row, panel) };
        // Behind the last row come zeros, which the last step may take in.
        let ready = if row + 1 < rows { (row + 1) * grid.pitch() / SIDE } else { steps };
        for step in done..ready.min(steps) {
            for block in 0..part.blocks.len() {
                let from = &panel[block * grid.plane() * SIDE + step * BLOCK..][..BLOCK];
                // SAFETY: the caller has the level.
                unsafe { transpose::<L>(from, &mut out[(block * steps + step) * BLOCK..][..BLOCK]) };
            }
        }
        done = ready.min(steps).max(done);
    }
}

/// Lays a part out by pairs of positions that begin at even ones and at odd ones, row by row as well.
#[inline(always)]
unsafe fn pair_part<L: Lanes>(part: &Part<'_>, grid: Grid, panel: &mut [bf16], out: [&mut [bf16]; 2]) {
    part.begin(grid, panel);
    let plane = grid.plane();
    let rows = grid.images * grid.image_rows();
    let mut done = [0; 2];
    for row in 0..rows {
        // SAFETY: begun above.
        unsafe { part.fill_row(grid, row, panel) };
        let filled = if row + 1 < rows { (row + 1) * grid.pitch() } else { plane };
        for parity in 0..2 {
            let ready = filled.saturating_sub(parity) / 2;
            for block in 0..part.blocks.len() {
                let from = &panel[block * plane * SIDE..][..plane * SIDE];
                let out = &mut out[parity][block * plane * SIDE..][..plane * SIDE];
                for pair in done[parity]..ready {
                    let from = &from[(2 * pair + parity) * SIDE..][..2 * SIDE];
                    let out = &mut out[2 * pair * SIDE..][..2 * SIDE];
                    // SAFETY: the caller has the level; both are two positions long.
                    unsafe { L::interleave(from.as_ptr(), from.as_ptr().add(SIDE), out.as_mut_ptr()) };
                }
            }
            done[parity] = ready.max(done[parity]);
        }
    }
}

/// 32 positions of 32 numbers as 32 numbers of 32 positions: by twos, which are words, and these transposed.
#[inline(always)]
unsafe fn transpose<L: Lanes>(from: &[bf16], out: &mut [bf16]) {
    assert!(from.len() == BLOCK && out.len() == BLOCK);
    let mut pairs = [bf16::ZERO; BLOCK];
    // SAFETY: the caller has the level; all rows lie in their blocks.
    unsafe {
        for i in 0..SIDE / 2 {
            let row = from.as_ptr().add(2 * i * SIDE);
            L::interleave(row, row.add(SIDE), pairs.as_mut_ptr().add(2 * i * SIDE));
        }
        for half in 0..2 {
            let (from, out) = (pairs.as_ptr().add(half * SIDE), out.as_mut_ptr().add(half * BLOCK / 2));
            L::transpose_words(from.cast(), SIDE, out.cast(), SIDE / 2);
        }
    }
}
