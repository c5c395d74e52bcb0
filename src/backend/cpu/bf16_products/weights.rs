//! Weights as the right side of products.

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
    pub fn pack(&self, window: Window, first: usize, columns: usize, packed: &mut [bf16]) {
        let steps = window.steps();
        let packed = &mut packed[..columns.div_ceil(SIDE) * steps * BLOCK];
        packed.par_chunks_mut(BLOCK).enumerate().for_each(|(i, out)| {
            let (block, step) = (i / steps, i % steps);
            let from = first + block * SIDE;
            let valid = SIDE.min(first + columns - from);
            self.pack_step(window, step, from, valid, out);
        });
    }

    fn pack_step(&self, window: Window, step: usize, from: usize, valid: usize, out: &mut [bf16]) {
        let (distance, block) = (step / window.blocks(), step % window.blocks());
        let features_of_tap = if self.order == Order::Forward { self.ci } else { self.co };
        out.fill(bf16::ZERO);
        for lane in 0..SIDE.min(window.expanded() - block * SIDE) {
            let (tap, feature) = window.source(distance, block * SIDE + lane);
            let (tap, feature) = (tap + feature / features_of_tap, feature % features_of_tap);
            let (start, pitch) = self.place(tap, feature);
            let row = &mut out[lane / 2 * 2 * SIDE + lane % 2..];
            for (column, out) in row.iter_mut().step_by(2).take(valid).enumerate() {
                *out = self.data[start + (from + column) * pitch];
            }
        }
    }
}
