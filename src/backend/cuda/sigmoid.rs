//! The logistic function. Kernel: `kernels/sigmoid.cu`.

use super::elementwise::{self, THREADS};
use super::program::Lowering;
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct SigmoidParameters {
    x: u64,
    y: u64,
    count: i64,
}

const _: () = assert!(size_of::<SigmoidParameters>() == 24);

pub(super) fn run(lowering: &mut Lowering<'_>) {
    let (x, y) = (lowering.input(0), lowering.output(0));
    let mut call = lowering.call("sigmoid", "sigmoid");
    let parameters = SigmoidParameters { x: call.read(x), y: call.write(y), count: y.shape.len() as i64 };
    lowering.push(call, elementwise::grid(y), THREADS, &parameters);
}
