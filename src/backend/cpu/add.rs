//! Element-wise sum. Formula: [`crate::ops::add`].

use super::arena::Operands;
use super::map::{self, Elements, Out, stream};
use super::simd::{Lanes, Level, Stored};

struct Sum<'a, T> {
    a: &'a [T],
    b: &'a [T],
    y: Out<T>,
}

impl<T: Stored> Elements for Sum<'_, T> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.y.store(at, stream::<L, T>(self.a, at).add(stream(self.b, at))) }
    }
}

pub(super) fn run<T: Stored>(level: Level, operands: &mut Operands) {
    let [a, b] = [0, 1].map(|i| operands.input_as::<T>(i));
    map::flat(level, &Sum { a, b, y: Out::whole(operands.output_as(0), a.len(), a.len()) }, a.len());
}
