//! Sum per channel. Formula: [`crate::ops::channel_sum`].

use super::arena::Operands;
use super::columns::{self, Terms};
use super::map::stream;
use super::simd::{Lanes, Level, Stored};
use crate::tape::Shape;

pub(super) fn workspace(x: Shape) -> usize {
    columns::workspace(x.pixels(), x.c())
}

struct Values<'a, T> {
    x: &'a [T],
}

impl<T: Stored> Terms for Values<'_, T> {
    #[inline(always)]
    unsafe fn terms<L: Lanes>(&self, at: usize, _channel: usize, _first: usize) -> [L; 2] {
        // SAFETY: passed on.
        unsafe { [stream(self.x, at), L::splat(0.0)] }
    }
}

pub(super) fn run<T: Stored>(level: Level, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let partials = operands.workspace::<f64>();
    columns::sum(level, &Values { x: operands.input_as::<T>(0) }, shape.pixels(), shape.c(), partials);
    let y = operands.output(0);
    columns::combine(partials, shape.pixels(), shape.c(), |c, [sum, _]| y[c] = sum as f32);
}
