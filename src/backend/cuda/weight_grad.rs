//! The launches of a gradient of weights: products over parts of the pixels, then their sum. Kernels: `kernels/weight_grad.cuh`,
//! `kernels/sum_partials.cu`.

use super::elementwise;
use super::program::{Lowering, Value, kernel_for};
use crate::tape::{DType, Shape};
use bytemuck::NoUninit;

/// Output channels of a block.
const CHANNELS_DY: usize = 32;
/// Columns of a tile of pixels.
const COLUMNS: usize = 16;
/// Blocks over which a gradient is spread: twice as many as an H100 has multiprocessors (one of the 3x3 gradient's blocks fits on each, by
/// its registers). A constant, so that the order of the sums does not depend on the device; not yet tuned on one.
const BLOCKS: usize = 264;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct WeightGradParameters {
    x: [u64; 2],
    dy: u64,
    dw: u64,
    n: i32,
    height: i32,
    width: i32,
    channels_x: [i32; 2],
    channels_dy: i32,
    splits: i32,
    padding: i32,
}

const _: () = assert!(size_of::<WeightGradParameters>() == 64);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct SumPartialsParameters {
    partials: u64,
    y: u64,
    count: i64,
    parts: i64,
}

const _: () = assert!(size_of::<SumPartialsParameters>() == 32);

/// How a gradient's work is cut, by the type in which images are stored.
struct Cut {
    blocks_x: usize,
    blocks_dy: usize,
    splits: usize,
}

/// Input channels of a block, and rows of a tile of pixels.
fn tile(dtype: DType) -> [usize; 2] {
    match dtype {
        DType::F16 => [64, 4],
        _ => [32, 2],
    }
}

/// `pixels`: those of x; `scattered_taps`: taps that blocks of their own compute.
fn cut(dtype: DType, x: &[Shape], channels_dy: usize, scattered_taps: usize) -> Cut {
    let [channels, rows] = tile(dtype);
    let blocks_x = x.iter().map(|image| image.c().div_ceil(channels)).sum::<usize>();
    let blocks_dy = channels_dy.div_ceil(CHANNELS_DY);
    let tiles = x[0].n() * x[0].h().div_ceil(rows) * x[0].w().div_ceil(COLUMNS);
    let splits = BLOCKS.div_ceil(blocks_x * blocks_dy * scattered_taps).min(tiles);
    Cut { blocks_x, blocks_dy, splits }
}

/// Bytes of the parts: the more of both types, as the plan asks before it knows the type.
pub(super) fn workspace(x: &[Shape], dw: Shape, scattered_taps: usize) -> usize {
    let splits = [DType::F32, DType::F16].map(|dtype| cut(dtype, x, dw.c(), scattered_taps).splits);
    let parts = splits[0].max(splits[1]);
    if parts > 1 { parts * dw.len() * DType::F32.size() } else { 0 }
}

/// A gradient of weights over one image or two whose channels follow one another.
pub(super) struct WeightGrad<'a> {
    pub module: &'static str,
    /// Without the type of its numbers.
    pub kernel: &'a str,
    pub threads: u32,
    pub dy: Value,
    pub x: &'a [Value],
    pub dw: Value,
    /// Taps that blocks of their own compute: 4 for the transposed convolution, else 1.
    pub scattered_taps: usize,
}

impl WeightGrad<'_> {
    pub fn push(&self, lowering: &mut Lowering<'_>) {
        let shapes: Vec<Shape> = self.x.iter().map(|x| x.shape).collect();
        let Cut { blocks_x, blocks_dy, splits } = cut(self.dy.dtype, &shapes, self.dy.shape.c(), self.scattered_taps);
        let count = self.dw.shape.len();
        let target = match splits {
            1 => self.dw,
            _ => lowering.workspace().part(0, splits * count, DType::F32),
        };
        let mut call = lowering.call(self.module, kernel_for(self.kernel, self.dy.dtype));
        let parameters = WeightGradParameters {
            x: [0, 1].map(|i| self.x.get(i).map_or(0, |&x| call.read(x))),
            dy: call.read(self.dy),
            dw: call.write(target),
            n: shapes[0].n() as i32,
            height: shapes[0].h() as i32,
            width: shapes[0].w() as i32,
            channels_x: [0, 1].map(|i| shapes.get(i).map_or(0, |x| x.c() as i32)),
            channels_dy: self.dy.shape.c() as i32,
            splits: splits as i32,
            padding: 0,
        };
        lowering.push(call, [blocks_x, blocks_dy, splits * self.scattered_taps], self.threads, &parameters);
        if splits > 1 {
            let mut call = lowering.call("sum_partials", "sum_partials_f32");
            let (partials, y) = (call.read(target), call.write(self.dw));
            let parameters = SumPartialsParameters { partials, y, count: count as i64, parts: splits as i64 };
            lowering.push(call, elementwise::grid(self.dw), elementwise::THREADS, &parameters);
        }
    }
}
