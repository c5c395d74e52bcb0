//! Rounding to f16 (IEEE 754 binary16), and what is finite.

use super::Array;

/// The nearest f16 number; of two equally near ones that with an even last bit.
pub fn to_half(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    // 2^exponent <= |x| < 2^(exponent + 1); below 2^-14 numbers are subnormal, as far apart as at 2^-14.
    let exponent = (x.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    // Eleven bits of significand: ten behind the first.
    let spacing = 2f64.powi(exponent.max(-14) - 10);
    let rounded = (x / spacing).round_ties_even() * spacing;
    if rounded.abs() < 65536.0 { rounded } else { f64::INFINITY.copysign(x) }
}

/// 1 where `g` holds a NaN or an infinity, else what `overflow` was.
pub fn check_finite(g: &Array, overflow: &Array) -> Array {
    let is_finite = g.data.iter().all(|x| x.is_finite());
    if is_finite { overflow.clone() } else { Array::vector(vec![1.0]) }
}
