//! The loss and its gradient. Kernels: `kernels/dice_bce.cu`.

use super::program::{Lowering, Value};
use super::rows::{self, Rows};
use crate::ops::dice_bce::{self, DiceBce, DiceBceGrad, N_SUMS};
use crate::tape::{DType, Shape};
use bytemuck::NoUninit;

const THREADS: u32 = 256;
/// Pixels of a partial sum, and the most channels of a block.
const CHUNK: usize = 2048;
const CHANNELS: usize = 32;
/// Threads of the kernels that one warp does.
const WARP: u32 = 32;
/// Numbers of a channel from which the gradient starts.
const N_FACTORS: usize = 4;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct LossParameters {
    alpha: f32,
    smooth: f32,
    class_weight: f32,
    focal_gamma: f32,
}

impl From<dice_bce::LossParameters> for LossParameters {
    fn from(p: dice_bce::LossParameters) -> Self {
        let dice_bce::LossParameters { alpha, smooth, class_weight, focal_gamma } = p;
        LossParameters { alpha, smooth, class_weight, focal_gamma }
    }
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct DiceBcePartialsParameters {
    z: u64,
    t: u64,
    u: u64,
    partials: u64,
    pixels: i64,
    chunks: i32,
    channels: i32,
    loss: LossParameters,
}

const _: () = assert!(size_of::<DiceBcePartialsParameters>() == 64);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct DiceBceCombineParameters {
    partials: u64,
    totals: u64,
    sums: u64,
    chunks: i32,
    channels: i32,
}

const _: () = assert!(size_of::<DiceBceCombineParameters>() == 32);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct DiceBceLossParameters {
    totals: u64,
    loss: u64,
    images: i32,
    channels: i32,
    loss_parameters: LossParameters,
}

const _: () = assert!(size_of::<DiceBceLossParameters>() == 40);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct DiceBceFactorsParameters {
    dloss: u64,
    sums: u64,
    factors: u64,
    images: i32,
    channels: i32,
    loss: LossParameters,
}

const _: () = assert!(size_of::<DiceBceFactorsParameters>() == 48);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct DiceBceGradParameters {
    z: u64,
    t: u64,
    u: u64,
    factors: u64,
    dz: u64,
    rows: Rows,
    w: i32,
    channels: i32,
    loss: LossParameters,
}

const _: () = assert!(size_of::<DiceBceGradParameters>() == 72);

fn chunks(z: Shape) -> usize {
    (z.h() * z.w()).div_ceil(CHUNK)
}

/// Bytes of the f64 sums of each image, chunk and channel, and of each image and channel.
fn sizes(z: Shape) -> [usize; 2] {
    [chunks(z), 1].map(|n| size_of::<f64>() * z.n() * n * z.c() * N_SUMS)
}

pub(super) fn workspace(z: Shape) -> usize {
    sizes(z).iter().sum()
}

pub(super) fn grad_workspace(z: Shape) -> usize {
    DType::F32.size() * z.c() * N_FACTORS
}

pub(super) fn forward(op: &DiceBce, lowering: &mut Lowering<'_>) {
    let z = lowering.input(0).shape;
    let [partial_bytes, total_bytes] = sizes(z);
    let partials = lowering.workspace().part(0, partial_bytes, DType::U8);
    let totals = lowering.workspace().part(partial_bytes, total_bytes, DType::U8);
    sum_chunks(op, partials, lowering);
    let mut call = lowering.call("dice_bce", "dice_bce_combine");
    let parameters = DiceBceCombineParameters {
        partials: call.read(partials),
        totals: call.write(totals),
        sums: call.write(lowering.output(1)),
        chunks: chunks(z) as i32,
        channels: z.c() as i32,
    };
    lowering.push(call, [z.n() * z.c(), 1, 1], THREADS, &parameters);
    let mut call = lowering.call("dice_bce", "dice_bce_loss");
    let parameters = DiceBceLossParameters {
        totals: call.read(totals),
        loss: call.write(lowering.output(0)),
        images: z.n() as i32,
        channels: z.c() as i32,
        loss_parameters: op.parameters.into(),
    };
    lowering.push(call, [1, 1, 1], WARP, &parameters);
}

fn sum_chunks(op: &DiceBce, partials: Value, lowering: &mut Lowering<'_>) {
    let [z, t, u] = [0, 1, 2].map(|i| lowering.input(i));
    let (shape, chunks) = (z.shape, chunks(z.shape));
    let mut call = lowering.call("dice_bce", "dice_bce_partials");
    let parameters = DiceBcePartialsParameters {
        z: call.read(z),
        t: call.read(t),
        u: call.read(u),
        partials: call.write(partials),
        pixels: (shape.h() * shape.w()) as i64,
        chunks: chunks as i32,
        channels: shape.c() as i32,
        loss: op.parameters.into(),
    };
    lowering.push(call, [shape.n() * chunks, shape.c().div_ceil(CHANNELS), 1], THREADS, &parameters);
}

pub(super) fn grad(op: &DiceBceGrad, lowering: &mut Lowering<'_>) {
    let [dloss, z, t, u, sums] = [0, 1, 2, 3, 4].map(|i| lowering.input(i));
    let (shape, dz) = (z.shape, lowering.output(0));
    let factors = lowering.workspace().part(0, shape.c() * N_FACTORS, DType::F32);
    let mut call = lowering.call("dice_bce", "dice_bce_factors");
    let parameters = DiceBceFactorsParameters {
        dloss: call.read(dloss),
        sums: call.read(sums),
        factors: call.write(factors),
        images: shape.n() as i32,
        channels: shape.c() as i32,
        loss: op.parameters.into(),
    };
    lowering.push(call, [1, 1, 1], WARP, &parameters);
    let row = shape.w() * shape.c();
    let (rows, grid) = rows::cut(shape.n() * shape.h(), row / rows::per_item(&[row], DType::F32));
    let mut call = lowering.call("dice_bce", "dice_bce_grad");
    let parameters = DiceBceGradParameters {
        z: call.read(z),
        t: call.read(t),
        u: call.read(u),
        factors: call.read(factors),
        dz: call.write(dz),
        rows,
        w: shape.w() as i32,
        channels: shape.c() as i32,
        loss: op.parameters.into(),
    };
    lowering.push(call, grid, rows::THREADS, &parameters);
}
