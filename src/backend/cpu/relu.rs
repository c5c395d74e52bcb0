//! ReLU and its gradient. Formulas: [`crate::ops::relu`].

use super::arena::Operands;
use super::map::{self, Elements, Out, stream};
use super::simd::{Lanes, Level, Stored};

struct Forward<'a, T> {
    x: &'a [T],
    y: Out<T>,
}

impl<T: Stored> Elements for Forward<'_, T> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.y.store(at, stream::<L, T>(self.x, at).relu()) }
    }
}

struct Grad<'a, T> {
    dy: &'a [T],
    y: &'a [T],
    dx: Out<T>,
}

impl<T: Stored> Elements for Grad<'_, T> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.dx.store(at, stream::<L, T>(self.dy, at).where_positive(stream(self.y, at))) }
    }
}

pub(super) fn forward<T: Stored>(level: Level, operands: &mut Operands) {
    let x = operands.input_as::<T>(0);
    map::flat(level, &Forward { x, y: Out::whole(operands.output_as(0), x.len(), x.len()) }, x.len());
}

pub(super) fn grad<T: Stored>(level: Level, operands: &mut Operands) {
    let [dy, y] = [0, 1].map(|i| operands.input_as::<T>(i));
    map::flat(level, &Grad { dy, y, dx: Out::whole(operands.output_as(0), dy.len(), dy.len()) }, dy.len());
}
