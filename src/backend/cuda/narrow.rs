//! Convolutions between an image of one channel and one of many, and their gradients. Kernels: `kernels/narrow.cuh`.

use super::program::{Call, Lowering, Value, kernel_for};
use super::weight_grad::sum_partials;
use crate::tape::{DType, Shape};
use bytemuck::NoUninit;

const THREADS: u32 = 256;
/// Pixels of a row that a thread of `spread` has, threads that share a pixel in `dot`, vectors of channels of a block of the gradient.
const STRIP: usize = 8;
const LANES: usize = 8;
const VECTORS: usize = 8;
/// Blocks over which a gradient is spread: four for each multiprocessor of an H100. A constant, so that the order of the sums does not depend on
/// the device.
const BLOCKS: usize = 528;

#[derive(Clone, Copy, Default, NoUninit)]
#[repr(C)]
struct NarrowParameters {
    single: u64,
    many: u64,
    w: u64,
    bias: u64,
    dw: u64,
    n: i32,
    height: i32,
    width: i32,
    channels: i32,
    splits: i32,
    padding: i32,
}

const _: () = assert!(size_of::<NarrowParameters>() == 64);

impl NarrowParameters {
    fn of(many: Shape) -> NarrowParameters {
        let [n, height, width, channels] = many.0.map(|extent| extent as i32);
        NarrowParameters { n, height, width, channels, ..NarrowParameters::default() }
    }
}

/// Elements of sixteen bytes.
fn vector(dtype: DType) -> usize {
    16 / dtype.size()
}

/// Whether these kernels do a convolution from or to an image of one channel.
pub(super) fn fits(single: Value, many: Value) -> bool {
    single.shape.c() == 1 && single.dtype == many.dtype && many.shape.c().is_multiple_of(vector(many.dtype))
}

fn taps(w: Shape) -> &'static str {
    if w.0[0] == 3 { "3x3" } else { "1x1" }
}

/// many = spread of single by w: a convolution of one input channel, or the gradient of the data of a 1x1 convolution of one output channel. (Of
/// a 3x3 one the taps would have to be mirrored.)
pub(super) fn spread(single: Value, w: Value, bias: Option<Value>, many: Value, lowering: &mut Lowering<'_>) {
    assert_eq!(w.dtype, many.dtype, "weights and images are stored alike");
    let mut call = lowering.call("conv2d", kernel_for(&format!("conv2d_{}_spread", taps(w.shape)), many.dtype));
    let parameters = NarrowParameters {
        single: call.read(single),
        w: call.read(w),
        bias: read(&mut call, bias),
        many: call.write(many),
        ..NarrowParameters::of(many.shape)
    };
    let [n, height, width, channels] = many.shape.0;
    let items = n * height * width.div_ceil(STRIP) * (channels / vector(many.dtype));
    lowering.push(call, [items.div_ceil(THREADS as usize), 1, 1], THREADS, &parameters);
}

/// single = many . w: a 1x1 convolution of one output channel.
pub(super) fn dot(many: Value, w: Value, bias: Option<Value>, single: Value, lowering: &mut Lowering<'_>) {
    assert_eq!(w.dtype, many.dtype, "weights and images are stored alike");
    let mut call = lowering.call("conv2d", kernel_for("conv2d_1x1_dot", many.dtype));
    let parameters = NarrowParameters {
        many: call.read(many),
        w: call.read(w),
        bias: read(&mut call, bias),
        single: call.write(single),
        ..NarrowParameters::of(many.shape)
    };
    lowering.push(call, [(many.shape.pixels() * LANES).div_ceil(THREADS as usize), 1, 1], THREADS, &parameters);
}

fn read(call: &mut Call, value: Option<Value>) -> u64 {
    value.map_or(0, |value| call.read(value))
}

/// Parts of the pixels, each with a sum of its own.
fn splits(many: Shape, dtype: DType) -> usize {
    BLOCKS.div_ceil((many.c() / vector(dtype)).div_ceil(VECTORS).max(1)).min(many.n() * many.h())
}

/// Bytes of the parts of a gradient, whatever the type.
pub(super) fn workspace(many: Shape, dw: Shape) -> usize {
    [DType::F32, DType::F16].map(|dtype| splits(many, dtype)).into_iter().max().unwrap_or(1) * dw.len() * DType::F32.size()
}

/// dw = sum over pixels of single and many.
pub(super) fn weight_grad(single: Value, many: Value, dw: Value, lowering: &mut Lowering<'_>) {
    let splits = splits(many.shape, many.dtype);
    let target = match splits {
        1 => dw,
        _ => lowering.workspace().part(0, splits * dw.shape.len(), DType::F32),
    };
    let mut call =
        lowering.call("conv2d_weight_grad", kernel_for(&format!("conv2d_weight_grad_{}_narrow", taps(dw.shape)), many.dtype));
    let parameters = NarrowParameters {
        single: call.read(single),
        many: call.read(many),
        dw: call.write(target),
        splits: splits as i32,
        ..NarrowParameters::of(many.shape)
    };
    let groups = (many.shape.c() / vector(many.dtype)).div_ceil(VECTORS);
    lowering.push(call, [groups, splits, 1], THREADS, &parameters);
    sum_partials(target, dw, splits, lowering);
}
