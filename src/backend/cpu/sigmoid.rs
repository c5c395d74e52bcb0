//! The logistic function. Formula: [`crate::ops::sigmoid`].

use super::arena::Operands;
use rayon::prelude::*;

/// Floats of a task.
const TASK_FLOATS: usize = 8192;

/// 1 / (1 + exp(-x)) without overflow; `libm`'s exp is exact to one unit in the last place.
pub(super) fn sigmoid(x: f32) -> f32 {
    let e = libm::expf(-x.abs());
    let p = 1.0 / (1.0 + e);
    if x >= 0.0 { p } else { e * p }
}

pub(super) fn run(operands: &mut Operands) {
    let x = operands.input(0);
    operands.output(0).par_chunks_mut(TASK_FLOATS).zip(x.par_chunks(TASK_FLOATS)).for_each(|(y, x)| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = sigmoid(*x));
    });
}
