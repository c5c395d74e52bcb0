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
/// its registers). A constant, so that the order of the sums does not depend on the device.
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

/// The same of Hopper's kernel (`kernels/warpgroup_weight_grad.cuh`): channels of both sides, rows and columns of a tile, threads, shared memory.
const WARPGROUP_CHANNELS: usize = 64;
const WARPGROUP_PIXELS: [usize; 2] = [32, 8];
const WARPGROUP_THREADS: u32 = 512;
const WARPGROUP_SHARED: u32 = 153_600;
/// Multiprocessors of an H100, each of which takes one such block.
const WARPGROUP_BLOCKS: usize = 132;

/// How a gradient's work is cut, by the type in which images are stored.
#[derive(Clone, Copy)]
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

/// `scattered_taps`: taps that blocks of their own compute.
fn cut(dtype: DType, x: &[Shape], channels_dy: usize, scattered_taps: usize) -> Cut {
    let [channels, rows] = tile(dtype);
    let blocks_x = x.iter().map(|image| image.c().div_ceil(channels)).sum::<usize>();
    let blocks_dy = channels_dy.div_ceil(CHANNELS_DY);
    let tiles = x[0].n() * x[0].h().div_ceil(rows) * x[0].w().div_ceil(COLUMNS);
    let splits = BLOCKS.div_ceil(blocks_x * blocks_dy * scattered_taps).min(tiles);
    Cut { blocks_x, blocks_dy, splits }
}

/// The cut for warpgroups: the number of parts that should take least time, and of several the smallest.
fn cut_for_warpgroups(x: &[Shape], channels_dy: usize) -> Cut {
    let blocks_x = x.iter().map(|image| image.c().div_ceil(WARPGROUP_CHANNELS)).sum::<usize>();
    let blocks_dy = channels_dy.div_ceil(WARPGROUP_CHANNELS);
    let [rows, columns] = WARPGROUP_PIXELS;
    let tiles = x[0].n() * x[0].h().div_ceil(rows) * x[0].w().div_ceil(columns);
    let blocks = blocks_x * blocks_dy;
    // Rounds over all multiprocessors, times the tiles that a block does one after another; writing a part costs about as much as two tiles.
    let cost = |splits: usize| (blocks * splits).div_ceil(WARPGROUP_BLOCKS) * (tiles.div_ceil(splits) + 2);
    let most = BLOCKS.div_ceil(blocks).min(tiles);
    let splits = (1..=most).min_by_key(|&splits| cost(splits)).unwrap_or(1);
    Cut { blocks_x, blocks_dy, splits }
}

/// Bytes of the parts: the most of all kinds, as the plan asks before it knows the type.
pub(super) fn workspace(x: &[Shape], dw: Shape, scattered_taps: usize) -> usize {
    let [f32, f16] = [DType::F32, DType::F16].map(|dtype| cut(dtype, x, dw.c(), scattered_taps).splits);
    let warpgroups = if dw.0[0] == 3 { cut_for_warpgroups(x, dw.c()).splits } else { 1 };
    let parts = f32.max(f16).max(warpgroups);
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
        let by_warpgroups = self.dw.shape.0[0] == 3 && lowering.suits_warpgroups(self.x.iter().chain([&self.dy]));
        let Cut { blocks_x, blocks_dy, splits } = match by_warpgroups {
            true => cut_for_warpgroups(&shapes, self.dy.shape.c()),
            false => cut(self.dy.dtype, &shapes, self.dy.shape.c(), self.scattered_taps),
        };
        let count = self.dw.shape.len();
        let target = match splits {
            1 => self.dw,
            _ => lowering.workspace().part(0, splits * count, DType::F32),
        };
        let mut call = match by_warpgroups {
            true => lowering.call(self.module, format!("{}_warpgroup_f16", self.kernel)).with_shared(WARPGROUP_SHARED),
            false => lowering.call(self.module, kernel_for(self.kernel, self.dy.dtype)),
        };
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
        let threads = if by_warpgroups { WARPGROUP_THREADS } else { self.threads };
        lowering.push(call, [blocks_x, blocks_dy, splits * self.scattered_taps], threads, &parameters);
        sum_partials(target, self.dw, splits, lowering);
    }
}

/// Adds `parts` gradients that lie one behind the other, in order; one needs no sum.
pub(super) fn sum_partials(partials: Value, dw: Value, parts: usize, lowering: &mut Lowering<'_>) {
    if parts > 1 {
        let mut call = lowering.call("sum_partials", "sum_partials_f32");
        let (partials, y) = (call.read(partials), call.write(dw));
        let parameters = SumPartialsParameters { partials, y, count: dw.shape.len() as i64, parts: parts as i64 };
        lowering.push(call, elementwise::grid(dw), elementwise::THREADS, &parameters);
    }
}
