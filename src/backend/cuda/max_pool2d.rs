//! Max-pooling 2x2 and its gradient. Kernels: `kernels/max_pool2d.cu`.

use super::program::{Lowering, kernel_for};
use super::rows::{self, Rows, THREADS};
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct MaxPool2dParameters {
    x: u64,
    y: u64,
    argmax: u64,
    rows: Rows,
    size: [i32; 3],
    padding: i32,
}

const _: () = assert!(size_of::<MaxPool2dParameters>() == 48);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct MaxPool2dGradParameters {
    dy: u64,
    argmax: u64,
    dx: u64,
    rows: Rows,
    size: [i32; 3],
    padding: i32,
}

const _: () = assert!(size_of::<MaxPool2dGradParameters>() == 48);

pub(super) fn forward(lowering: &mut Lowering<'_>) {
    let (x, y, argmax) = (lowering.input(0), lowering.output(0), lowering.output(1));
    let groups = y.shape.c() / rows::per_item(&[y.shape.c()], y.dtype);
    let (rows, grid) = rows::cut(y.shape.n() * y.shape.h(), y.shape.w() * groups);
    let mut call = lowering.call("max_pool2d", kernel_for("max_pool2d", y.dtype));
    let parameters = MaxPool2dParameters {
        x: call.read(x),
        y: call.write(y),
        argmax: call.write(argmax),
        rows,
        size: [x.shape.h(), x.shape.w(), x.shape.c()].map(|n| n as i32),
        padding: 0,
    };
    lowering.push(call, grid, THREADS, &parameters);
}

pub(super) fn grad(lowering: &mut Lowering<'_>) {
    let (dy, argmax, dx) = (lowering.input(0), lowering.input(1), lowering.output(0));
    let groups = dx.shape.c() / rows::per_item(&[dx.shape.c()], dx.dtype);
    // An odd last row or column has windows of its own, to be filled with zeros.
    let (rows, grid) = rows::cut(dx.shape.n() * dx.shape.h().div_ceil(2), dx.shape.w().div_ceil(2) * groups);
    let mut call = lowering.call("max_pool2d", kernel_for("max_pool2d_grad", dx.dtype));
    let parameters = MaxPool2dGradParameters {
        dy: call.read(dy),
        argmax: call.read(argmax),
        dx: call.write(dx),
        rows,
        size: [dx.shape.h(), dx.shape.w(), dx.shape.c()].map(|n| n as i32),
        padding: 0,
    };
    lowering.push(call, grid, THREADS, &parameters);
}
