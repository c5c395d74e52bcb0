//! ReLU and its gradient. Kernels: `kernels/relu.cu`.

use super::elementwise::{self, THREADS};
use super::program::{Lowering, kernel_for};
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ReluParameters {
    x: u64,
    y: u64,
    count: i64,
}

const _: () = assert!(size_of::<ReluParameters>() == 24);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ReluGradParameters {
    dy: u64,
    y: u64,
    dx: u64,
    count: i64,
}

const _: () = assert!(size_of::<ReluGradParameters>() == 32);

pub(super) fn forward(lowering: &mut Lowering<'_>) {
    let (x, y) = (lowering.input(0), lowering.output(0));
    let mut call = lowering.call("relu", kernel_for("relu", y.dtype));
    let parameters = ReluParameters { x: call.read(x), y: call.write(y), count: y.shape.len() as i64 };
    lowering.push(call, elementwise::grid(y), THREADS, &parameters);
}

pub(super) fn grad(lowering: &mut Lowering<'_>) {
    let [dy, y] = [0, 1].map(|i| lowering.input(i));
    let dx = lowering.output(0);
    let mut call = lowering.call("relu", kernel_for("relu_grad", dx.dtype));
    let parameters = ReluGradParameters { dy: call.read(dy), y: call.read(y), dx: call.write(dx), count: dx.shape.len() as i64 };
    lowering.push(call, elementwise::grid(dx), THREADS, &parameters);
}
