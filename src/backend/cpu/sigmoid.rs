//! The logistic function. Formula: [`crate::ops::sigmoid`].

use super::arena::Operands;
use super::elementary::exp_of_negative;
use super::simd::{Kernel, Lanes, Level, dispatch};
use rayon::prelude::*;

/// Floats of a task.
const TASK_FLOATS: usize = 8192;
/// Floats that are computed side by side.
const BLOCK: usize = 64;

/// 1 / (1 + exp(-x)) without overflow.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let e = exp_of_negative(-x.abs());
    let numerator = if x >= 0.0 { 1.0 } else { e };
    numerator / (1.0 + e)
}

pub(super) fn run(level: Level, operands: &mut Operands) {
    let x = operands.input(0);
    operands.output(0).par_chunks_mut(TASK_FLOATS).zip(x.par_chunks(TASK_FLOATS)).with_max_len(1).for_each(|(y, x)| {
        dispatch(level, Task { x, y });
    });
}

struct Task<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (y, x) in self.y.chunks_mut(BLOCK).zip(self.x.chunks(BLOCK)) {
            let mut block = [0.0; BLOCK];
            block[..x.len()].copy_from_slice(x);
            for value in &mut block {
                *value = sigmoid(*value);
            }
            y.copy_from_slice(&block[..y.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 997th number of either sign, beside f64.
    #[test]
    fn errors_are_below_two_and_a_half_units() {
        let mut worst = 0.0f64;
        for bits in (0..0x7F80_0000u32).step_by(997) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let expected = 1.0 / (1.0 + (-f64::from(x)).exp());
                let error = (f64::from(sigmoid(x)) - expected).abs();
                let allowed = 2.5 * f64::from(f32::EPSILON) * expected + f64::from(f32::MIN_POSITIVE);
                // No number at all is the worst.
                worst = if error / allowed <= worst { worst } else { error / allowed };
            }
        }
        assert!(worst <= 1.0, "{worst} times what is allowed");
        assert!(sigmoid(f32::NAN).is_nan() && sigmoid(f32::INFINITY) == 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
    }
}
