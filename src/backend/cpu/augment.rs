//! Augmentation. Formulae: [`crate::ops::augment`]; the arithmetic is the data pipeline's own ([`crate::augment`]).

use super::arena::Operands;
use crate::augment::{Material, mirrored, render, scratch_len};
use crate::ops::augment::{Augment, Draw, UPPER_QUANTILES};
use crate::tape::Shape;
use rayon::prelude::*;

/// Each image is a task with its own buffers.
pub(super) fn workspace(op: &Augment, content: Shape) -> usize {
    content.n() * scratch_len(op) * size_of::<f32>()
}

pub(super) fn run(op: &Augment, operands: &mut Operands) {
    let upper: &[f32; UPPER_QUANTILES] = operands.input(4).try_into().expect("as many as the shape rule says");
    let quantiles = mirrored(upper);
    let (content, control) = (operands.input(0), operands.input(3));
    let (labels, draws) = (operands.input_bytes(1), operands.input_bytes(2));
    let row = |index: usize| operands.input_shape(index).c();
    let (content_row, labels_row) = (row(0), row(1));
    let (points, pixels) = (operands.input_shape(3).len() / operands.input_shape(3).n(), op.height * op.width);
    let [image, target, weight] = [0, 1, 2].map(|index| operands.output(index));
    let scratch = operands.workspace::<f32>();
    let out = image.par_chunks_mut(pixels).zip(target.par_chunks_mut(pixels)).zip(weight.par_chunks_mut(pixels));
    out.zip(scratch.par_chunks_mut(scratch_len(op))).enumerate().with_max_len(1).for_each(
        |(n, (((image, target), weight), scratch))| {
            let draw: Draw = bytemuck::pod_read_unaligned(&draws[n * size_of::<Draw>()..][..size_of::<Draw>()]);
            let from = Material {
                content: &content[n * content_row..][..content_row],
                labels: &labels[n * labels_row..][..labels_row],
                control: &control[n * points..][..points],
                quantiles: &quantiles,
            };
            render(op, &draw, from, [image, target, weight], scratch);
        },
    );
}
