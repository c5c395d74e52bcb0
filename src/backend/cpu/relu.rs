//! ReLU and its gradient. Formulas: [`crate::ops::relu`].

use super::arena::Operands;
use super::map::{self, Elements, Out, load};
use super::simd::{Lanes, Level};

struct Forward<'a> {
    x: &'a [f32],
    y: Out,
}

impl Elements for Forward<'_> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.y.store(at, load::<L>(self.x, at).relu()) }
    }
}

struct Grad<'a> {
    dy: &'a [f32],
    y: &'a [f32],
    dx: Out,
}

impl Elements for Grad<'_> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.dx.store(at, load::<L>(self.dy, at).where_positive(load(self.y, at))) }
    }
}

pub(super) fn forward(level: Level, operands: &mut Operands) {
    let x = operands.input(0);
    map::flat(level, &Forward { x, y: Out::new(operands.output(0), x.len()) }, x.len());
}

pub(super) fn grad(level: Level, operands: &mut Operands) {
    let (dy, y) = (operands.input(0), operands.input(1));
    map::flat(level, &Grad { dy, y, dx: Out::new(operands.output(0), dy.len()) }, dy.len());
}
