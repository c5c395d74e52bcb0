//! Concatenation over channels and its split. Formulas: [`crate::ops::concat`].

use super::arena::Operands;
use super::simd::Stored;
use rayon::prelude::*;

/// Pixels of a task.
const TASK_PIXELS: usize = 1024;

pub(super) fn concat<T: Stored>(operands: &mut Operands) {
    let [a, b] = [0, 1].map(|i| operands.input_as::<T>(i));
    let (ca, cb) = (operands.input_shape(0).c(), operands.input_shape(1).c());
    operands.output_as::<T>(0).par_chunks_mut(TASK_PIXELS * (ca + cb)).enumerate().with_max_len(1).for_each(|(task, y)| {
        let (a, b) = (&a[task * TASK_PIXELS * ca..], &b[task * TASK_PIXELS * cb..]);
        for (y, (a, b)) in y.chunks_exact_mut(ca + cb).zip(a.chunks_exact(ca).zip(b.chunks_exact(cb))) {
            y[..ca].copy_from_slice(a);
            y[ca..].copy_from_slice(b);
        }
    });
}

pub(super) fn split<T: Stored>(operands: &mut Operands) {
    let (y, c) = (operands.input_as::<T>(0), operands.input_shape(0).c());
    let mut from = 0;
    for index in 0..operands.n_outputs() {
        let channels = operands.output_shape(index).c();
        operands.output_as::<T>(index).par_chunks_mut(TASK_PIXELS * channels).enumerate().with_max_len(1).for_each(
            |(task, part)| {
                let y = &y[task * TASK_PIXELS * c..];
                for (part, y) in part.chunks_exact_mut(channels).zip(y.chunks_exact(c)) {
                    part.copy_from_slice(&y[from..from + channels]);
                }
            },
        );
        from += channels;
    }
}
