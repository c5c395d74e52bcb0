//! Gradients of weights: sums over pixels of outer products.
//!
//! ```text
//! dw[tap, ci, co] = sum over p of  x[p, ci] dy[p - tap, co]
//! ```
//!
//! Positions are what is summed over here, so that the left side is x transposed, `[block of features][step][32 features][32 positions]`,
//! and the right side dy with its positions by twos, `[block of co][pair][32][2]`; sums then are rows of dw, and go where those lie. A
//! tap shifts dy by whole positions: by an odd number of them, pairs begin at odd positions, of which there is a second copy. Between
//! rows x is 0 and dy is whatever stands there, and outside of the images dy is 0, so that a value of either that is not finite spoils
//! taps that do not see it. Tasks are chunks of bands of rows, where few weights make that cheap, times groups of channels of both sides.
//! The first chunk leaves its sums in dw, the others beside it, from where they are added in the chunks' order.

use super::super::map::{self, Elements, Out, stream};
use super::super::pool::own_place;
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::layout::{pair_part, transpose_part};
use super::panel::{Grid, Part, Views, Window};
use super::product::{BLOCK, Left, Multiplier, Place, SIDE, Sums};
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
    /// Features of dy.
    features_dy: usize,
    /// Blocks of x's and of dy's features.
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
        let blocks = [window.blocks(), features_dy.div_ceil(SIDE)];
        let mut cut = Cut { window, size, features_dy, blocks, group: blocks, band: [1, 1], chunk: 1 };
        let most_chunks = (PARTIAL_BYTES / (cut.len() * size_of::<f32>())).clamp(1, 2 * TASKS);
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
        // A panel of either side, and its rearranged form: one of x, two of dy.
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

    /// Rows of dw: features of all taps of x.
    fn rows(self) -> usize {
        self.window.distances() * self.window.expanded()
    }

    /// Numbers of dw.
    fn len(self) -> usize {
        self.rows() * self.features_dy
    }

    /// Steps of a band's products.
    fn steps(self, grid: Grid) -> usize {
        ((grid.images - 1) * grid.image_pitch() + grid.rows * grid.pitch()).div_ceil(SIDE)
    }

    /// Numbers of: a panel of either side, x transposed, one of the two copies of dy by pairs.
    fn scratch(self) -> [usize; 3] {
        let grid = self.grid();
        let panel = grid.panel_len(self.group[0].max(self.group[1]));
        [panel, self.group[0] * self.steps(grid) * BLOCK, grid.panel_len(self.group[1])]
    }

    fn scratch_len(self) -> usize {
        let [panel, left, right] = self.scratch();
        panel + left + 2 * right
    }

    /// Numbers of the chunks' sums, without the first's, which lie in dw.
    fn partials_len(self) -> usize {
        (self.chunks() - 1) * self.len()
    }
}

/// Bytes of the workspace of a gradient over images of `size` (images, rows, columns), `features` of x and `features_dy` of dy.
pub fn workspace(threads: usize, kernel: usize, features: usize, features_dy: usize, size: [usize; 3]) -> usize {
    let cut = Cut::new(kernel, features, features_dy, size);
    cut.partials_len().next_multiple_of(BLOCK) * size_of::<f32>() + threads * cut.scratch_len() * size_of::<bf16>()
}

impl WeightGrad<'_> {
    /// Writes dw `[taps, ci, co]`; `workspace` has what [`workspace`] asks for.
    pub fn run(&self, dw: &mut [f32], workspace: &mut [f32]) {
        let cut = Cut::new(self.kernel, self.x.features(), self.dy.features(), self.x.size());
        assert_eq!(self.x.size(), self.dy.size(), "images of one size");
        assert_eq!(dw.len(), cut.len(), "weights of all taps");
        let (partials, rest) = workspace.split_at_mut(cut.partials_len().next_multiple_of(BLOCK));
        let scratch: &mut [bf16] = bytemuck::cast_slice_mut(rest);
        assert!(scratch.len() >= rayon::current_num_threads() * cut.scratch_len(), "the workspace of a gradient");
        let work =
            Work { gradient: self, cut, dw: dw.as_mut_ptr(), partials: partials.as_mut_ptr(), scratch: scratch.as_mut_ptr() };
        let [groups_x, groups_dy] = cut.groups();
        (0..cut.chunks() * groups_x * groups_dy).into_par_iter().for_each(|task| {
            let (group, chunk) = (task % (groups_x * groups_dy), task / (groups_x * groups_dy));
            let groups = [group / groups_dy, group % groups_dy];
            let blocks = [0, 1].map(|side| {
                let first = groups[side] * cut.group[side];
                first..(first + cut.group[side]).min(cut.blocks[side])
            });
            dispatch(self.level, Task { work: &work, chunk, blocks });
        });
        if cut.chunks() > 1 {
            let len = cut.len();
            let (others, partials) = (cut.chunks() - 1, &partials[..cut.partials_len()]);
            let chunks = AddChunks { dw: Out::new(dw, len), partials, others, len };
            map::flat(self.level, &chunks, len);
        }
    }
}

/// Adds the other chunks' sums to those of the first, in order.
struct AddChunks<'a> {
    dw: Out<f32>,
    partials: &'a [f32],
    others: usize,
    len: usize,
}

impl Elements for AddChunks<'_> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on; every chunk has as many numbers as dw.
        unsafe {
            let mut sum = self.dw.stream::<L>(at);
            for chunk in 0..self.others {
                sum = sum.add(stream(self.partials, chunk * self.len + at));
            }
            self.dw.store(at, sum);
        }
    }
}

struct Work<'a> {
    gradient: &'a WeightGrad<'a>,
    cut: Cut,
    dw: *mut f32,
    /// Sums of the chunks behind the first.
    partials: *mut f32,
    /// Of each thread.
    scratch: *mut bf16,
}

// SAFETY: threads write to scratch of their own, and tasks to sums of their own.
unsafe impl Sync for Work<'_> {}

/// Some bands, and some blocks of both sides.
struct Task<'a> {
    work: &'a Work<'a>,
    chunk: usize,
    /// Of x's and of dy's features.
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
        let Work { gradient, cut, .. } = *self.work;
        let [images, height, _] = cut.size;
        let bands_of_image = height.div_ceil(cut.band[1]);
        let (first_image, first_row) = (band / bands_of_image * cut.band[0], band % bands_of_image * cut.band[1]);
        let grid =
            Grid { images: cut.band[0].min(images - first_image), rows: cut.band[1].min(height - first_row), ..cut.grid() };
        let steps = cut.steps(grid);
        let [panel_len, left_len, right_len] = cut.scratch();
        let (panel, rest) = scratch.split_at_mut(panel_len);
        let (left, right) = rest.split_at_mut(left_len);
        let [blocks_x, blocks_dy] = self.blocks.clone();

        let (window, reach) = (cut.window, cut.window.reach_beside());
        let (views, rows, blocks) = (gradient.x, grid.rows, blocks_x.clone());
        // SAFETY: the caller has the level.
        unsafe {
            transpose_part::<L>(&Part { views, window, reach, first_image, first_row, rows, blocks }, grid, panel, left, steps)
        };
        let (window, reach) = (Window::new(1, cut.features_dy), cut.window.reach_apart());
        let (views, rows, blocks) = (gradient.dy, grid.image_rows(), blocks_dy.clone());
        let part = Part { views, window, reach, first_image, first_row, rows, blocks };
        // SAFETY: the caller has the level.
        unsafe { pair_part::<L>(&part, grid, panel, right.split_at_mut(right_len).into()) };

        let distances = cut.window.distances();
        for (i, block_x) in blocks_x.enumerate() {
            let start = left[i * steps * BLOCK..][..steps * BLOCK].as_ptr();
            let left = Left { start, count: steps, pitch: BLOCK, distances: &[0] };
            for (j, block_dy) in blocks_dy.clone().enumerate() {
                for tap in 0..distances {
                    // x shifted by a tap meets dy as dy shifted the other way meets x.
                    let shift = grid.distance(distances - 1 - tap);
                    let from = shift % 2 * right_len + j * grid.plane() * SIDE + shift / 2 * 2 * SIDE;
                    assert!(from + steps * BLOCK <= 2 * right_len, "pairs behind the last position");
                    // SAFETY: the caller has the level; both sides have `steps` steps.
                    unsafe {
                        self.add_product::<L>(multiplier, &left, right.as_ptr().add(from), [tap, block_x, block_dy], first)
                    };
                }
            }
        }
    }

    /// Adds a product to its block of this chunk's sums, or begins them with it.
    #[inline(always)]
    unsafe fn add_product<L: Lanes>(
        &self,
        multiplier: &Multiplier,
        left: &Left<'_>,
        right: *const bf16,
        [tap, block_x, block_dy]: [usize; 3],
        first: bool,
    ) {
        let Work { gradient, cut, dw, partials, .. } = *self.work;
        let (expanded, co) = (cut.window.expanded(), gradient.co);
        let (row, column) = (block_x * SIDE, block_dy * SIDE);
        let rows = SIDE.min(expanded - row);
        // SAFETY: rows and columns of a chunk are all in it, and those of this block are this task's own.
        unsafe {
            let chunk = if self.chunk == 0 { dw } else { partials.add((self.chunk - 1) * cut.len()) };
            // Columns of a block can belong to two taps of dy, whose rows follow all of one another.
            let at = |column: usize| chunk.add((column / co * cut.rows() + tap * expanded + row) * co + column % co);
            if rows == SIDE && column % co + SIDE <= co {
                let place = Place { start: at(column), pitch: co };
                return multiplier.multiply::<L>(left, right, place, !first);
            }
            let mut sums = Sums([0.0; BLOCK]);
            multiplier.multiply::<L>(left, right, sums.place(), false);
            for n in 0..SIDE.min(cut.features_dy - column) {
                for m in 0..rows {
                    let (to, sum) = (at(column + n).add(m * co), sums.0[m * SIDE + n]);
                    to.write(if first { sum } else { to.read() + sum });
                }
            }
        }
    }
}
