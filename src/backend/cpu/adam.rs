//! Adam. Formulas: [`crate::ops::adam`].

use super::arena::Operands;
use super::check_finite;
use super::map::{self, Elements, Out, stream};
use super::simd::{Lanes, Level};
use crate::ops::adam::Adam;

struct Update<'a> {
    op: &'a Adam,
    g: &'a [f32],
    /// [lr, c1, c2, 1 / loss scale]
    schedule: [f32; 4],
    parameter: Out<f32>,
    m: Out<f32>,
    v: Out<f32>,
}

impl Elements for Update<'_> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, _channel: usize) {
        let [lr, c1, c2, unscale] = self.schedule;
        let Adam { beta1, beta2, eps } = *self.op;
        // SAFETY: passed on.
        unsafe {
            let g = stream::<L, f32>(self.g, at).mul(L::splat(unscale));
            let m = self.m.stream::<L>(at).mul_add(L::splat(beta1), g.mul(L::splat(1.0 - beta1)));
            let v = self.v.stream::<L>(at).mul_add(L::splat(beta2), g.mul(g).mul(L::splat(1.0 - beta2)));
            let step = m.mul(L::splat(lr * c1)).div(v.mul(L::splat(c2)).sqrt().add(L::splat(eps)));
            self.m.store(at, m);
            self.v.store(at, v);
            self.parameter.store(at, self.parameter.stream::<L>(at).sub(step));
        }
    }
}

pub(super) fn run(level: Level, op: &Adam, operands: &mut Operands) {
    if check_finite::is_raised(operands, 2) {
        return;
    }
    let g = operands.input(0);
    let schedule: [f32; 4] = operands.input(1).try_into().expect("checked when recorded");
    let [parameter, m, v] = [0, 1, 2].map(|i| Out::new(operands.output(i), g.len()));
    map::flat(level, &Update { op, g, schedule, parameter, m, v }, g.len());
}
