//! Adam. Kernel: `kernels/adam.cu`.

use super::elementwise::{self, THREADS};
use super::program::Lowering;
use crate::ops::adam::Adam;
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AdamParameters {
    g: u64,
    schedule: u64,
    /// 0 where there is none.
    overflow: u64,
    parameter: u64,
    m: u64,
    v: u64,
    count: i64,
    beta1: f32,
    beta2: f32,
    eps: f32,
    padding: i32,
}

const _: () = assert!(size_of::<AdamParameters>() == 72);

pub(super) fn run(op: &Adam, lowering: &mut Lowering<'_>) {
    let (g, schedule) = (lowering.input(0), lowering.input(1));
    let overflow = (lowering.n_inputs() > 2).then(|| lowering.input(2));
    let [parameter, m, v] = [0, 1, 2].map(|i| lowering.output(i));
    let mut call = lowering.call("adam", "adam");
    let parameters = AdamParameters {
        g: call.read(g),
        schedule: call.read(schedule),
        overflow: overflow.map_or(0, |flag| call.read(flag)),
        parameter: call.update(parameter),
        m: call.update(m),
        v: call.update(v),
        count: g.shape.len() as i64,
        beta1: op.beta1,
        beta2: op.beta2,
        eps: op.eps,
        padding: 0,
    };
    lowering.push(call, elementwise::grid(g), THREADS, &parameters);
}
