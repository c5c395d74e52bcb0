//! Rounding to f16 (IEEE 754 binary16) and to bf16, and what is finite.

use super::Array;

/// The nearest f16 number; of two equally near ones that with an even last bit. Eleven bits of significand: ten behind the first.
pub fn to_f16(x: f64) -> f64 {
    round(x, 10, -14, 16)
}

/// The nearest bf16 number likewise: seven bits behind the first.
pub fn to_bf16(x: f64) -> f64 {
    round(x, 7, -126, 128)
}

/// The nearest number with `bits` bits behind the first one. Numbers below 2^lowest are subnormal, as far apart as there; from
/// 2^end on they are infinite.
fn round(x: f64, bits: i32, lowest: i32, end: i32) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    // 2^exponent <= |x| < 2^(exponent + 1)
    let exponent = (x.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    let spacing = 2f64.powi(exponent.max(lowest) - bits);
    let rounded = (x / spacing).round_ties_even() * spacing;
    if rounded.abs() < 2f64.powi(end) { rounded } else { f64::INFINITY.copysign(x) }
}

/// 1 where `g` holds a NaN or an infinity, else what `overflow` was.
pub fn check_finite(g: &Array, overflow: &Array) -> Array {
    let is_finite = g.data.iter().all(|x| x.is_finite());
    if is_finite { overflow.clone() } else { Array::vector(vec![1.0]) }
}
