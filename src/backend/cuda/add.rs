//! Sum of two images. Kernels: `kernels/add.cu`.

use super::elementwise::{self, THREADS};
use super::program::{Lowering, kernel_for};
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AddParameters {
    a: u64,
    b: u64,
    y: u64,
    count: i64,
}

const _: () = assert!(size_of::<AddParameters>() == 32);

pub(super) fn run(lowering: &mut Lowering<'_>) {
    let [a, b] = [0, 1].map(|i| lowering.input(i));
    let y = lowering.output(0);
    let mut call = lowering.call("add", kernel_for("add", y.dtype));
    let parameters = AddParameters { a: call.read(a), b: call.read(b), y: call.write(y), count: y.shape.len() as i64 };
    lowering.push(call, elementwise::grid(y), THREADS, &parameters);
}
