//! Concatenation over channels and its split. Kernels: `kernels/concat.cu`.

use super::program::{Lowering, Value, kernel_for};
use super::rows::{self, Rows, THREADS};
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ConcatParameters {
    a: u64,
    b: u64,
    whole: u64,
    rows: Rows,
    ca: i32,
    cb: i32,
    w: i32,
    padding: i32,
}

const _: () = assert!(size_of::<ConcatParameters>() == 48);

pub(super) fn concat(lowering: &mut Lowering<'_>) {
    let (parts, whole) = ([0, 1].map(|i| lowering.input(i)), lowering.output(0));
    let mut call = lowering.call("concat", kernel_for("concat", whole.dtype));
    let addresses = [call.read(parts[0]), call.read(parts[1]), call.write(whole)];
    let (parameters, grid) = parameters(parts, whole, addresses);
    lowering.push(call, grid, THREADS, &parameters);
}

pub(super) fn split(lowering: &mut Lowering<'_>) {
    let (parts, whole) = ([0, 1].map(|i| lowering.output(i)), lowering.input(0));
    let mut call = lowering.call("concat", kernel_for("split", whole.dtype));
    let addresses = [call.write(parts[0]), call.write(parts[1]), call.read(whole)];
    let (parameters, grid) = parameters(parts, whole, addresses);
    lowering.push(call, grid, THREADS, &parameters);
}

fn parameters(parts: [Value; 2], whole: Value, [a, b, address]: [u64; 3]) -> (ConcatParameters, [usize; 3]) {
    let channels = parts.map(|part| part.shape.c());
    let groups = whole.shape.c() / rows::per_item(&channels, whole.dtype);
    let (rows, grid) = rows::cut(whole.shape.n() * whole.shape.h(), whole.shape.w() * groups);
    let [ca, cb] = channels.map(|c| c as i32);
    (ConcatParameters { a, b, whole: address, rows, ca, cb, w: whole.shape.w() as i32, padding: 0 }, grid)
}
