//! Elementary functions. Each is written for one number without branches, so that the compiler makes vectors of a loop over neighbours;
//! its bits are the same at every level.

/// exp(x) for x up to 0, 0 where it would be subnormal: 2^n exp(r) with |r| <= ln(2) / 2, exp(r) by its Taylor polynomial (error below
/// 2e-8).
#[inline(always)]
pub(super) fn exp_of_negative(x: f32) -> f32 {
    // ln 2 in two parts, so that n times the first is exact (Cody and Waite 1980).
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding this rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    // ln of the smallest normal number.
    const LOWEST: f32 = -87.336_54;
    let inside = if x > LOWEST { x } else { LOWEST };
    let shifted = inside * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = inside - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = (p * r) * r + r + 1.0;
    // The integer stands in the lowest bits of the shifted number.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let exp = if x > LOWEST { p * power } else { 0.0 };
    if x.is_nan() { x } else { exp }
}

/// ln(1 + x) for x from 0 to 1: 2 artanh(s) with s = x / (2 + x) up to 1/3, by its series (what is left out is below 2e-9 of it). There is
/// no cancellation, however small x is.
#[inline(always)]
pub(super) fn ln_1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let square = s * s;
    let p = 1.0 / 15.0;
    let p = p * square + 1.0 / 13.0;
    let p = p * square + 1.0 / 11.0;
    let p = p * square + 1.0 / 9.0;
    let p = p * square + 1.0 / 7.0;
    let p = p * square + 1.0 / 5.0;
    let p = p * square + 1.0 / 3.0;
    let twice = 2.0 * s;
    twice + twice * (p * square)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error beside f64 in units in the last place of the value, over every 997th number of a range of bits.
    fn worst(range: std::ops::Range<f32>, sign: f32, found: impl Fn(f32) -> f32, expected: impl Fn(f64) -> f64) -> f64 {
        let numbers = (range.start.to_bits()..=range.end.to_bits()).step_by(997).map(|bits| sign * f32::from_bits(bits));
        let error = |x: f32| {
            let exact = expected(f64::from(x));
            (f64::from(found(x)) - exact).abs() / (exact * f64::from(f32::EPSILON)).max(f64::from(f32::MIN_POSITIVE))
        };
        // No number at all is the worst.
        numbers.map(error).fold(0.0, |worst, error| if error <= worst { worst } else { error })
    }

    #[test]
    fn exponentials_err_by_two_units() {
        let worst = worst(0.0..f32::MAX, -1.0, exp_of_negative, f64::exp);
        assert!(worst <= 2.0, "{worst} units");
        assert_eq!(exp_of_negative(f32::NEG_INFINITY), 0.0);
        // A training that has diverged must be seen to.
        assert!(exp_of_negative(f32::NAN).is_nan() && ln_1p(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms_err_by_two_units() {
        let worst = worst(0.0..1.0, 1.0, ln_1p, f64::ln_1p);
        assert!(worst <= 2.0, "{worst} units");
        assert_eq!(ln_1p(0.0), 0.0);
    }
}
