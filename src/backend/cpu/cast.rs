//! A copy in another type of number. Formula: [`crate::ops::cast`].

use super::arena::Operands;
use crate::tape::DType;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Numbers of a task.
const TASK: usize = 32_768;

pub(super) fn run(operands: &mut Operands) {
    match (operands.input_type(0), operands.output_type(0)) {
        (DType::F32, DType::F16) => by_task(operands.input(0), operands.output_half(0), |x, y| y.convert_from_f32_slice(x)),
        (DType::F16, DType::F32) => by_task(operands.input_half(0), operands.output(0), |x, y| x.convert_to_f32_slice(y)),
        (DType::F16, DType::F16) => by_task(operands.input_half(0), operands.output_half(0), |x, y| y.copy_from_slice(x)),
        _ => by_task(operands.input(0), operands.output(0), |x, y| y.copy_from_slice(x)),
    }
}

fn by_task<X: Sync, Y: Send>(x: &[X], y: &mut [Y], convert: impl Fn(&[X], &mut [Y]) + Sync) {
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| convert(x, y));
}
