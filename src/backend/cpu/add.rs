//! Element-wise sum. Formula: [`crate::ops::add`].

use super::arena::Operands;
use super::map::{self, Elements, Out, load};
use super::simd::{Lanes, Level};

struct Sum<'a> {
    a: &'a [f32],
    b: &'a [f32],
    y: Out,
}

impl Elements for Sum<'_> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.y.store(at, load::<L>(self.a, at).add(load(self.b, at))) }
    }
}

pub(super) fn run(level: Level, operands: &mut Operands) {
    let (a, b) = (operands.input(0), operands.input(1));
    map::flat(level, &Sum { a, b, y: Out::new(operands.output(0), a.len()) }, a.len());
}
