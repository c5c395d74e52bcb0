//! A copy in another type of number. Formula: [`crate::ops::cast`].

use super::arena::Operands;
use super::map::{self, Elements, Out, stream};
use super::simd::{Lanes, Level, Stored};
use crate::tape::DType;
use half::bf16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Numbers of a task.
const TASK: usize = 32_768;

pub(super) fn run(level: Level, operands: &mut Operands) {
    match (operands.input_type(0), operands.output_type(0)) {
        (DType::F32, DType::F16) => by_task(operands.input(0), operands.output_f16(0), |x, y| y.convert_from_f32_slice(x)),
        (DType::F16, DType::F32) => by_task(operands.input_f16(0), operands.output(0), |x, y| x.convert_to_f32_slice(y)),
        (DType::F16, DType::F16) => by_task(operands.input_f16(0), operands.output_f16(0), |x, y| y.copy_from_slice(x)),
        (DType::F32, DType::Bf16) => convert::<f32, bf16>(level, operands),
        (DType::Bf16, DType::F32) => convert::<bf16, f32>(level, operands),
        (DType::Bf16, DType::Bf16) => by_task(operands.input_as::<bf16>(0), operands.output_as(0), |x, y| y.copy_from_slice(x)),
        (DType::F32, DType::F32) => by_task(operands.input(0), operands.output(0), |x, y| y.copy_from_slice(x)),
        (from, to) => unreachable!("a cast from {from:?} to {to:?}"),
    }
}

fn by_task<X: Sync, Y: Send>(x: &[X], y: &mut [Y], convert: impl Fn(&[X], &mut [Y]) + Sync) {
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).with_max_len(1).for_each(|(y, x)| convert(x, y));
}

struct Convert<'a, X, Y> {
    x: &'a [X],
    y: Out<Y>,
}

impl<X: Stored, Y: Stored> Elements for Convert<'_, X, Y> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        // SAFETY: passed on.
        unsafe { self.y.store(at, stream::<L, X>(self.x, at)) }
    }
}

fn convert<X: Stored, Y: Stored>(level: Level, operands: &mut Operands) {
    let x = operands.input_as::<X>(0);
    map::flat(level, &Convert { x, y: Out::<Y>::new(operands.output_as(0), x.len()) }, x.len());
}
