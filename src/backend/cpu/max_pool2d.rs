//! Max-pooling 2x2 and its gradient. Formulas: [`crate::ops::max_pool2d`].
//!
//! Channels go by blocks of 16 through local arrays of known length, which the compiler turns into vectors.

use super::arena::Operands;
use super::simd::{Kernel, Lanes, Level, Stored, dispatch};
use rayon::prelude::*;

const BLOCK: usize = 16;

pub(super) fn forward<T: Stored>(level: Level, operands: &mut Operands) {
    let (shape, out) = (operands.input_shape(0), operands.output_shape(0));
    let (x, c, row) = (operands.input_as::<T>(0), shape.c(), out.w() * shape.c());
    let y = operands.output_as::<T>(0).par_chunks_mut(row);
    let argmax = operands.output_bytes(1).par_chunks_mut(row);
    y.zip(argmax).enumerate().with_max_len(1).for_each(|(i, (y, argmax))| {
        let (n, oy) = (i / out.h(), i % out.h());
        let line = shape.w() * c;
        let upper = &x[(n * shape.h() + 2 * oy) * line..][..2 * line];
        dispatch(level, PoolRow { lines: upper, line, c, y, argmax });
    });
}

/// One row of the output from two lines of the input.
struct PoolRow<'a, T> {
    lines: &'a [T],
    line: usize,
    c: usize,
    y: &'a mut [T],
    argmax: &'a mut [u8],
}

impl<T: Stored> Kernel for PoolRow<'_, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let PoolRow { lines, line, c, y, argmax } = self;
        for (pixel, (y, argmax)) in y.chunks_exact_mut(c).zip(argmax.chunks_exact_mut(c)).enumerate() {
            let at = 2 * pixel * c;
            for first in (0..c).step_by(BLOCK) {
                let n = BLOCK.min(c - first);
                let taps = [at, at + c, at + line, at + line + c].map(|tap| &lines[tap + first..][..n]);
                let (best, index) = if n == BLOCK { largest(taps.map(fixed)) } else { largest(taps.map(padded)) };
                y[first..first + n].copy_from_slice(&best[..n]);
                argmax[first..first + n].copy_from_slice(&index[..n]);
            }
        }
    }
}

#[inline(always)]
fn fixed<T: Copy>(from: &[T]) -> [T; BLOCK] {
    from.try_into().expect("a whole block")
}

#[inline(always)]
fn padded<T: bytemuck::Pod>(from: &[T]) -> [T; BLOCK] {
    let mut block = [T::zeroed(); BLOCK];
    block[..from.len()].copy_from_slice(from);
    block
}

/// The first largest of four, and which; NaN counts as largest.
#[inline(always)]
fn largest<T: Stored>(taps: [[T; BLOCK]; 4]) -> ([T; BLOCK], [u8; BLOCK]) {
    let (mut best, mut index) = (taps[0], [0u32; BLOCK]);
    let mut largest = [0.0; BLOCK];
    for i in 0..BLOCK {
        largest[i] = best[i].widen();
    }
    for (k, tap) in (1u32..).zip(&taps[1..]) {
        for i in 0..BLOCK {
            let new = tap[i].widen();
            let better = (new > largest[i]) | (new.is_nan() & !largest[i].is_nan());
            largest[i] = if better { new } else { largest[i] };
            index[i] = if better { k } else { index[i] };
        }
    }
    let mut bytes = [0; BLOCK];
    for i in 0..BLOCK {
        best[i] = T::of_widened(largest[i]);
        bytes[i] = index[i] as u8;
    }
    (best, bytes)
}

pub(super) fn grad<T: Stored>(level: Level, operands: &mut Operands) {
    let (pooled, shape) = (operands.input_shape(0), operands.output_shape(0));
    let (dy, argmax, c) = (operands.input_as::<T>(0), operands.input_bytes(1), shape.c());
    let row = pooled.w() * c;
    operands.output_as::<T>(0).par_chunks_mut(shape.w() * c).enumerate().with_max_len(1).for_each(|(i, dx)| {
        let (n, y) = (i / shape.h(), i % shape.h());
        if y / 2 >= pooled.h() {
            dx.fill(T::zeroed());
            return;
        }
        let from = (n * pooled.h() + y / 2) * row;
        let (dy, argmax) = (&dy[from..from + row], &argmax[from..from + row]);
        dispatch(level, GradRow { dy, argmax, tap: 2 * (y % 2) as u8, c, dx });
    });
}

/// One row of dx, whose two columns of a window are taps `tap` and `tap + 1`.
struct GradRow<'a, T> {
    dy: &'a [T],
    argmax: &'a [u8],
    tap: u8,
    c: usize,
    dx: &'a mut [T],
}

impl<T: Stored> Kernel for GradRow<'_, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let GradRow { dy, argmax, tap, c, dx } = self;
        dx[2 * dy.len()..].fill(T::zeroed());
        for (dx, (dy, argmax)) in dx.chunks_exact_mut(2 * c).zip(dy.chunks_exact(c).zip(argmax.chunks_exact(c))) {
            let (left, right) = dx.split_at_mut(c);
            for first in (0..c).step_by(BLOCK) {
                let n = BLOCK.min(c - first);
                let (dy, argmax) = (&dy[first..first + n], &argmax[first..first + n]);
                let (dy, argmax) = if n == BLOCK { (fixed(dy), fixed(argmax)) } else { (padded(dy), padded(argmax)) };
                for (out, tap) in [(&mut *left, tap), (&mut *right, tap + 1)] {
                    let chosen: [T; BLOCK] = std::array::from_fn(|i| if argmax[i] == tap { dy[i] } else { T::zeroed() });
                    out[first..first + n].copy_from_slice(&chosen[..n]);
                }
            }
        }
    }
}
