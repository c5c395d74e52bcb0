//! Gradients of weights: sums over pixels of outer products.
//!
//! ```text
//! dw[tap, ci, co] = sum over p of  x[p, ci] dy[p - tap, co]
//! ```
//!
//! Positions are what is summed over here, so that the left side is x transposed, `[block of features][step][32 features][32 positions]`,
//! and the right side dy with its positions by twos, `[block of co][pair][32][2]`; sums then are rows of dw, and go where those lie. A
//! tap shifts dy by whole positions: where by an odd number of them, pairs begin at odd positions, of which there is a second copy.
//!
//! Where features lie by blocks and no taps side by side, rows of whole steps are transposed straight from the image, and between two of
//! them there is nothing: the right side skips what it has there. Elsewhere, between rows, x is 0 and dy is whatever stands there. Outside of the images dy is 0. So a
//! value of either that is not finite spoils taps that do not see it.
//!
//! Tasks are chunks of bands of rows, where few weights make that cheap, times groups of channels of both sides. The first chunk leaves its
//! sums in dw, the others beside it, from where they are added in the chunks' order.

use super::super::map::{self, Elements, Out, stream};
use super::super::pool::{for_each, own_place};
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::layout::{pair_part, pair_rows, transpose_part, transpose_rows};
use super::panel::{Part, Views};
use super::product::{BLOCK, INNER, Left, Multiplier, Place, Right, SIDE, Sums};
use super::weight_grad_cut::{Side, WeightGradCut};
use super::window::{Grid, Window};
use half::bf16;
use std::ops::Range;

/// One gradient. With a transposed convolution, features of `dy` are those of its four taps, one after another.
pub struct WeightGrad<'a> {
    pub level: Level,
    pub kernel: usize,
    pub x: Views<'a>,
    pub dy: Views<'a>,
    /// Output channels of a tap.
    pub co: usize,
}

impl WeightGrad<'_> {
    /// Writes dw `[taps, ci, co]`; `workspace` has what [`super::weight_grad_cut::workspace`] asks for.
    pub fn run(&self, dw: &mut [f32], workspace: &mut [f32]) {
        let cut = WeightGradCut::new(self.kernel, [&self.x, &self.dy].map(Side::of), self.x.size());
        assert_eq!(self.x.size(), self.dy.size(), "images of one size");
        assert_eq!(dw.len(), cut.len(), "weights of all taps");
        assert!(self.co > 0 && cut.features_dy.is_multiple_of(self.co), "channels of each of dy's taps");
        let (partials, rest) = workspace.split_at_mut(cut.partials_len().next_multiple_of(BLOCK));
        let scratch: &mut [bf16] = bytemuck::cast_slice_mut(rest);
        assert!(scratch.len() >= rayon::current_num_threads() * cut.scratch_len(), "the workspace of a gradient");
        let work =
            Work { gradient: self, cut, dw: dw.as_mut_ptr(), partials: partials.as_mut_ptr(), scratch: scratch.as_mut_ptr() };
        let [groups_x, groups_dy] = cut.groups();
        for_each(cut.chunks() * groups_x * groups_dy, |task| {
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
    cut: WeightGradCut,
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
        let cut = self.work.cut;
        let place = cut.place(band);
        let (_, _, grid) = place;
        let [panel_len, left_len, right_len] = cut.scratch();
        let (panel, rest) = scratch.split_at_mut(panel_len);
        let (left, right) = rest.split_at_mut(left_len);
        // SAFETY: the caller has the level.
        unsafe {
            self.lay_out_x::<L>(place, panel, left);
            self.lay_out_dy::<L>(place, panel, right);
        }
        let (distances, steps, copy) = (cut.window.distances(), cut.steps(grid), right_len / cut.copies());
        for (i, block_x) in self.blocks[0].clone().enumerate() {
            let left = &left[i * steps * BLOCK..][..steps * BLOCK];
            for tap in 0..distances {
                // x shifted by a tap meets dy as dy shifted the other way meets x.
                let shift = grid.distance(distances - 1 - tap);
                // Neighbouring columns one after another: their rows of sums continue one another in memory.
                for (j, block_dy) in self.blocks[1].clone().enumerate() {
                    let right = &right[shift % 2 * copy + j * grid.plane() * SIDE..][shift / 2 * 2 * SIDE..grid.plane() * SIDE];
                    // SAFETY: the caller has the level.
                    unsafe { self.add_products::<L>(multiplier, grid, left, right, [tap, block_x, block_dy], first) };
                }
            }
        }
    }

    /// Lays the band at `place` ([`WeightGradCut::place`]) of x out.
    #[inline(always)]
    unsafe fn lay_out_x<L: Lanes>(
        &self,
        (first_image, first_row, grid): (usize, usize, Grid),
        panel: &mut [bf16],
        left: &mut [bf16],
    ) {
        let Work { gradient, cut, .. } = *self.work;
        let (views, window, reach) = (gradient.x, cut.window, cut.window.reach_beside());
        let part = Part { views, window, reach, first_image, first_row, rows: grid.rows, blocks: self.blocks[0].clone() };
        // SAFETY: passed on.
        unsafe {
            match cut.x_by_rows {
                true => transpose_rows::<L>(&part, grid, left),
                false => transpose_part::<L>(&part, grid, panel, left, cut.steps(grid)),
            }
        }
    }

    /// The same of dy, with the rows around it.
    #[inline(always)]
    unsafe fn lay_out_dy<L: Lanes>(
        &self,
        (first_image, first_row, grid): (usize, usize, Grid),
        panel: &mut [bf16],
        right: &mut [bf16],
    ) {
        let Work { gradient, cut, .. } = *self.work;
        let (views, window, reach) = (gradient.dy, Window::new(1, cut.features_dy), cut.window.reach_apart());
        let part = Part { views, window, reach, first_image, first_row, rows: grid.image_rows(), blocks: self.blocks[1].clone() };
        // SAFETY: passed on.
        unsafe {
            match cut.dy_by_rows {
                true => pair_rows::<L>(&part, grid, right, cut.copies()),
                false => pair_part::<L>(&part, grid, panel, right, cut.copies()),
            }
        }
    }

    /// Adds the products of a band's steps.
    #[inline(always)]
    unsafe fn add_products<L: Lanes>(
        &self,
        multiplier: &Multiplier,
        grid: Grid,
        left: &[bf16],
        right: &[bf16],
        block: [usize; 3],
        first: bool,
    ) {
        if !self.work.cut.x_by_rows {
            assert!(right.len() >= left.len(), "pairs behind the last position");
            let (left, right) = (
                Left { start: left.as_ptr(), count: left.len() / BLOCK, pitch: BLOCK, inner: &[0] },
                Right { start: right.as_ptr(), gap: 0 },
            );
            // SAFETY: passed on; both sides have their steps.
            return unsafe { self.add_product::<L>(multiplier, &left, right, block, first) };
        }
        let (row, gap) = (grid.width * SIDE, (grid.pitch() - grid.width) * SIDE);
        for image in 0..grid.images {
            let (left, right) =
                (&left[image * grid.rows * row..][..grid.rows * row], &right[image * grid.image_pitch() * SIDE..]);
            assert!(right.len() + gap >= grid.rows * (row + gap), "rows of pairs");
            let left = Left { start: left.as_ptr(), count: grid.rows, pitch: row, inner: &INNER[..grid.width / SIDE] };
            // SAFETY: passed on; both sides have their rows.
            unsafe { self.add_product::<L>(multiplier, &left, Right { start: right.as_ptr(), gap }, block, first && image == 0) };
        }
    }

    /// Adds a product to its block of this chunk's sums, or begins them with it.
    #[inline(always)]
    unsafe fn add_product<L: Lanes>(
        &self,
        multiplier: &Multiplier,
        left: &Left<'_>,
        right: Right,
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
