//! Whether a gradient is finite. Kernels: `kernels/check_finite.cu`.

use super::program::Lowering;
use crate::tape::{DType, Shape};
use bytemuck::NoUninit;

/// Numbers of which one block makes an answer.
const CHUNK: usize = 16384;
const THREADS: u32 = 256;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct CheckFiniteParameters {
    g: u64,
    out: u64,
    count: i64,
}

const _: () = assert!(size_of::<CheckFiniteParameters>() == 24);

/// An answer for each chunk, where there are several.
pub(super) fn workspace(g: Shape) -> usize {
    let chunks = g.len().div_ceil(CHUNK);
    if chunks > 1 { DType::F32.size() * chunks } else { 0 }
}

pub(super) fn run(lowering: &mut Lowering<'_>) {
    let (mut g, overflow) = (lowering.input(0), lowering.output(0));
    let chunks = g.shape.len().div_ceil(CHUNK);
    if chunks > 1 {
        let answers = lowering.workspace().part(0, chunks, DType::F32);
        let mut call = lowering.call("check_finite", "check_finite_chunks");
        let parameters = CheckFiniteParameters { g: call.read(g), out: call.write(answers), count: g.shape.len() as i64 };
        lowering.push(call, [chunks, 1, 1], THREADS, &parameters);
        g = answers;
    }
    let mut call = lowering.call("check_finite", "check_finite");
    let parameters = CheckFiniteParameters { g: call.read(g), out: call.update(overflow), count: g.shape.len() as i64 };
    lowering.push(call, [1, 1, 1], THREADS, &parameters);
}
