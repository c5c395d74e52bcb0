//! Weights as the right side of products.

use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::panel::Window;
use super::product::{BLOCK, SIDE};
use half::bf16;
use rayon::prelude::*;

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
    pub data: &'a [bf16],
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

    /// Packs `columns` columns from `first` on: `[block of 32 columns][step of window][pair of features][32][2]`. Features past those of
    /// one tap are the next tap's, as they are where a window of one pixel sees the quarters of an image.
    pub fn pack(&self, level: Level, window: Window, first: usize, columns: usize, packed: &mut [bf16]) {
        let steps = window.steps();
        let packed = &mut packed[..columns.div_ceil(SIDE) * steps * BLOCK];
        packed.par_chunks_mut(BLOCK).enumerate().for_each(|(i, out)| {
            let (block, step) = (i / steps, i % steps);
            let from = first + block * SIDE;
            let valid = SIDE.min(first + columns - from);
            dispatch(level, Pack { weights: self, window, step, from, valid, out });
        });
    }

    /// Where feature `expanded` of tap `distance` of a window lies in column 0, and the distance to the next column.
    fn find(&self, window: Window, distance: usize, expanded: usize) -> (usize, usize) {
        let features_of_tap = if self.order == Order::Forward { self.ci } else { self.co };
        let (tap, feature) = window.source(distance, expanded);
        self.place(tap + feature / features_of_tap, feature % features_of_tap)
    }
}

/// Columns `from .. from + valid` of one step.
struct Pack<'a> {
    weights: &'a Weights<'a>,
    window: Window,
    step: usize,
    from: usize,
    valid: usize,
    out: &'a mut [bf16],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Pack { weights, window, step, from, valid, out } = self;
        let (distance, first) = (step / window.blocks(), step % window.blocks() * SIDE);
        let lanes = SIDE.min(window.expanded() - first);
        let (start, pitch) = weights.find(window, distance, first);
        let (last, _) = weights.find(window, distance, first + lanes - 1);
        let columns = if weights.order == Order::Forward { weights.co } else { weights.ci };
        assert!(from + valid <= columns && weights.data.len().is_multiple_of(weights.ci * weights.co), "weights of all columns");
        assert!(start.max(last) < weights.data.len(), "taps that are there");
        let data = weights.data.as_ptr();
        // SAFETY: the caller has the level. Every lane's tap lies between the first's and the last's, whole taps are there, and so are the
        // columns of each.
        unsafe {
            if lanes == SIDE && valid == SIDE && weights.order != Order::Forward && last == start + SIDE - 1 {
                // Columns are rows of pairs of features here.
                for half in 0..2 {
                    let from = data.add(start + (from + 16 * half) * pitch);
                    let mut rows = [bf16::ZERO; BLOCK / 2];
                    for (i, row) in rows.chunks_exact_mut(SIDE).enumerate() {
                        std::ptr::copy_nonoverlapping(from.add(i * pitch), row.as_mut_ptr(), SIDE);
                    }
                    L::transpose_words(rows.as_ptr().cast(), SIDE / 2, out.as_mut_ptr().add(half * SIDE).cast(), SIDE);
                }
                return;
            }
            let mut rows = [bf16::ZERO; 2 * SIDE];
            for (pair, out) in out.chunks_exact_mut(2 * SIDE).enumerate() {
                for (side, row) in rows.chunks_exact_mut(SIDE).enumerate() {
                    let lane = 2 * pair + side;
                    row.fill(bf16::ZERO);
                    if lane < lanes {
                        let (start, pitch) = weights.find(window, distance, first + lane);
                        let from = data.add(start + from * pitch);
                        match pitch {
                            1 => std::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), valid),
                            _ => row[..valid].iter_mut().enumerate().for_each(|(i, w)| *w = from.add(i * pitch).read()),
                        }
                    }
                }
                L::interleave(rows.as_ptr(), rows.as_ptr().add(SIDE), out.as_mut_ptr());
            }
        }
    }
}
