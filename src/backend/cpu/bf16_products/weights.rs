//! Weights as the right side of products. They are f32 numbers, which are rounded to bf16 as they are packed.

use super::super::simd::Lanes;
use super::product::{BLOCK, SIDE};
use super::window::Window;
use half::bf16;
use std::ops::Range;

/// How the weights `[taps, ci, co]` are read.
#[derive(Clone, Copy, PartialEq)]
pub enum Order {
    /// Features are ci, columns co.
    Forward,
    /// Features are co, columns ci: the gradient of the data, where there is no neighbourhood.
    Transposed,
    /// As `Transposed`, taps in reverse order: the gradient of the data of a neighbourhood.
    Flipped,
}

/// Weights of a product.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    pub data: &'a [f32],
    pub ci: usize,
    pub co: usize,
    pub order: Order,
}

impl Weights<'_> {
    /// The number of (tap, feature) in column 0, and the distance to the next column.
    fn place(&self, tap: usize, feature: usize) -> (usize, usize) {
        let size = self.ci * self.co;
        match self.order {
            Order::Forward => (tap * size + feature * self.co, 1),
            Order::Transposed => (tap * size + feature, self.co),
            Order::Flipped => (self.data.len() - (tap + 1) * size + feature, self.co),
        }
    }

    /// Where feature `expanded` of tap `distance` of a window lies in column 0, and the distance to the next column. Features past those
    /// of one tap are the next tap's, as they are where a window of one pixel sees the quarters of an image.
    fn find(&self, window: Window, distance: usize, expanded: usize) -> (usize, usize) {
        let features_of_tap = if self.order == Order::Forward { self.ci } else { self.co };
        let (tap, feature) = window.source(distance, expanded);
        self.place(tap + feature / features_of_tap, feature % features_of_tap)
    }

    /// Packs step `step` of up to 32 columns: `[pair of features][32][2]`, zeros where there are no more columns or features. Steps go by
    /// distances first, as those of [`super::product::Left`] do.
    ///
    /// # Safety
    /// The CPU has the level of `L`.
    #[inline(always)]
    pub unsafe fn pack<L: Lanes>(&self, window: Window, step: usize, columns: Range<usize>, out: &mut [bf16]) {
        let (distance, first) = (step % window.distances(), step / window.distances() * SIDE);
        let lanes = SIDE.min(window.expanded() - first);
        let (start, pitch) = self.find(window, distance, first);
        let (last, _) = self.find(window, distance, first + lanes - 1);
        let all_columns = if self.order == Order::Forward { self.co } else { self.ci };
        assert!(columns.end <= all_columns && self.data.len().is_multiple_of(self.ci * self.co), "weights of all columns");
        assert!(start.max(last) < self.data.len(), "taps that are there");
        assert!(out.len() == BLOCK && columns.len() <= SIDE, "a step of a block of columns");
        // From a feature to the next within a tap.
        let stride = if self.order == Order::Forward { self.co } else { 1 };
        let is_whole = lanes == SIDE && columns.len() == SIDE && last == start + (SIDE - 1) * stride;
        // SAFETY: the caller has the level. Every lane's tap lies between the first's and the last's, whole taps are there, and so are the
        // columns of each.
        unsafe {
            let from = self.data.as_ptr().add(start + columns.start * pitch);
            match (is_whole, self.order) {
                (true, Order::Forward) => {
                    for (pair, out) in out.chunks_exact_mut(2 * SIDE).enumerate() {
                        let row = from.add(2 * pair * stride);
                        L::interleave_rounded(row, row.add(stride), out.as_mut_ptr());
                    }
                }
                (true, _) => {
                    // Columns are rows of pairs of features here.
                    for half in 0..2 {
                        let mut rows = [bf16::ZERO; BLOCK / 2];
                        for (i, row) in rows.chunks_exact_mut(SIDE).enumerate() {
                            round::<L>(from.add((16 * half + i) * pitch), row.as_mut_ptr());
                        }
                        L::transpose_words(rows.as_ptr().cast(), SIDE / 2, out.as_mut_ptr().add(half * SIDE).cast(), SIDE);
                    }
                }
                (false, _) => self.pack_part(window, distance, first..first + lanes, columns, out),
            }
        }
    }

    /// One by one: few features or few columns.
    fn pack_part(&self, window: Window, distance: usize, features: Range<usize>, columns: Range<usize>, out: &mut [bf16]) {
        out.fill(bf16::ZERO);
        for (lane, feature) in features.enumerate() {
            let (start, pitch) = self.find(window, distance, feature);
            let out = &mut out[lane / 2 * 2 * SIDE + lane % 2..];
            for (i, column) in columns.clone().enumerate() {
                out[2 * i] = bf16::from_f32(self.data[start + column * pitch]);
            }
        }
    }
}

/// Rounds 32 numbers.
#[inline(always)]
unsafe fn round<L: Lanes>(from: *const f32, to: *mut bf16) {
    for i in (0..SIDE).step_by(2 * L::N) {
        // SAFETY: the caller has the level, and 32 numbers at either end.
        unsafe { L::load(from.add(i)).store_two_bf16(L::load(from.add(i + L::N)), to.add(i)) };
    }
}
