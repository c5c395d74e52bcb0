//! Augmentation. Kernel: `kernels/augment.cu`.

use super::program::Lowering;
use crate::ops::augment::{Augment, MIN_SPACING, SURPLUS, UPPER_QUANTILES};
use crate::random::Purpose;
use bytemuck::NoUninit;

const THREADS: u32 = 256;
/// Columns and rows of a block.
const TILE: [usize; 2] = [64, 32];

const _: () = assert!(MIN_SPACING == 4.0 && SURPLUS == 255 && UPPER_QUANTILES == 2048, "as kernels/augment.cu says");
const _: () = assert!(Purpose::Noise as u32 == 7, "as kernels/augment.cu says");

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AugmentParameters {
    content: u64,
    labels: u64,
    draws: u64,
    control: u64,
    quantiles: u64,
    image: u64,
    target: u64,
    weight: u64,
    content_row: i64,
    labels_row: i64,
    h: i32,
    w: i32,
    control_rows: i32,
    control_columns: i32,
    spacing: f32,
    padding: i32,
}

const _: () = assert!(size_of::<AugmentParameters>() == 104);

pub(super) fn run(op: &Augment, lowering: &mut Lowering<'_>) {
    let [content, labels, draws, control, quantiles] = [0, 1, 2, 3, 4].map(|i| lowering.input(i));
    let [image, target, weight] = [0, 1, 2].map(|i| lowering.output(i));
    let [rows, columns] = op.control().map(|count| count as i32);
    let mut call = lowering.call("augment", "augment");
    let parameters = AugmentParameters {
        content: call.read(content),
        labels: call.read(labels),
        draws: call.read(draws),
        control: call.read(control),
        quantiles: call.read(quantiles),
        image: call.write(image),
        target: call.write(target),
        weight: call.write(weight),
        content_row: content.shape.c() as i64,
        labels_row: labels.shape.c() as i64,
        h: op.height as i32,
        w: op.width as i32,
        control_rows: rows,
        control_columns: columns,
        spacing: op.spacing,
        padding: 0,
    };
    let grid = [op.width.div_ceil(TILE[0]), op.height.div_ceil(TILE[1]), image.shape.n()];
    lowering.push(call, grid, THREADS, &parameters);
}
