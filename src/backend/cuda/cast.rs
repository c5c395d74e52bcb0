//! A copy in another type of number. Kernels: `kernels/cast.cu`.

use super::elementwise::{self, THREADS};
use super::program::{Lowering, kernel_for};
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct CastParameters {
    x: u64,
    y: u64,
    count: i64,
}

const _: () = assert!(size_of::<CastParameters>() == 24);

pub(super) fn run(lowering: &mut Lowering<'_>) {
    let (x, y) = (lowering.input(0), lowering.output(0));
    let mut call = lowering.call("cast", kernel_for(&format!("{}_to", kernel_for("cast", x.dtype)), y.dtype));
    let parameters = CastParameters { x: call.read(x), y: call.write(y), count: y.shape.len() as i64 };
    // A thread's elements fill sixteen bytes of the wider type.
    let wider = if x.dtype.size() > y.dtype.size() { x } else { y };
    lowering.push(call, elementwise::grid(wider), THREADS, &parameters);
}
