//! The one-dimensional transforms of F(4, 3) for the points 0, ±√½, ±√2 and infinity.
//!
//! Four outputs of a filter g of three taps over six inputs d are `Aᵀ [(G g) ⊙ (Bᵀ d)]` (Winograd 1980; Lavin and Gray 2016, "Fast
//! Algorithms for Convolutional Neural Networks"); for a patch each transform is applied to columns, then to rows. The points ±√½
//! and ±√2 instead of ±1 and ±2 keep the transforms' entries near 1 and about halve the rounding error (Alam et al. 2022, "Winograd
//! Convolution for Deep Neural Networks: Efficient Point Selection"). Points of opposite sign share their even and odd parts.

use super::super::simd::Lanes;

/// Rows and columns of a tile of outputs.
pub(super) const OUT: usize = 4;
/// Rows and columns of a patch of inputs, and of a tile in the transformed domain.
pub(super) const IN: usize = 6;
/// Rows and columns of a filter.
pub(super) const TAPS: usize = 3;
/// Products of a tile: its points in two dimensions.
pub(super) const POINTS: usize = IN * IN;

const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
const SQRT_2: f32 = std::f32::consts::SQRT_2;

/// Bᵀ d: from a row of inputs.
pub(super) struct Input;

impl OneWay<IN, IN> for Input {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(d: [L; IN]) -> [L; IN] {
        // SAFETY: the caller has the level.
        unsafe {
            let [near, far] = [L::splat(SQRT_HALF), L::splat(SQRT_2)];
            let [minus_two, minus_half, minus_middle] = [L::splat(-2.0), L::splat(-0.5), L::splat(-2.5)];
            let (even, odd) = (d[2].mul_add(minus_two, d[4]), d[1].mul_add(minus_two, d[3]).mul(near));
            let (far_even, far_odd) = (d[2].mul_add(minus_half, d[4]), d[1].mul_add(minus_half, d[3]).mul(far));
            [
                d[2].mul_add(minus_middle, d[0].add(d[4])),
                even.add(odd),
                even.sub(odd),
                far_even.add(far_odd),
                far_even.sub(far_odd),
                d[3].mul_add(minus_middle, d[1].add(d[5])),
            ]
        }
    }
}

/// Aᵀ m: to a row of outputs.
pub(super) struct Output;

impl OneWay<IN, OUT> for Output {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(m: [L; IN]) -> [L; OUT] {
        // SAFETY: the caller has the level.
        unsafe {
            let (near, near_odd) = (m[1].add(m[2]), m[1].sub(m[2]).mul(L::splat(SQRT_HALF)));
            let (far, far_odd) = (m[3].add(m[4]), m[3].sub(m[4]).mul(L::splat(SQRT_2)));
            let [two, half] = [L::splat(2.0), L::splat(0.5)];
            [
                m[0].add(near).add(far),
                near_odd.add(far_odd),
                near.mul_add(half, far.mul(two)),
                near_odd.mul_add(half, far_odd.mul_add(two, m[5])),
            ]
        }
    }
}

/// A y: the transpose of [`Output`], for gradients of the outputs.
pub(super) struct OutputGrad;

impl OneWay<OUT, IN> for OutputGrad {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(y: [L; OUT]) -> [L; IN] {
        // SAFETY: the caller has the level.
        unsafe {
            let [two, half] = [L::splat(2.0), L::splat(0.5)];
            let (even, odd) = (y[2].mul_add(half, y[0]), y[3].mul_add(half, y[1]).mul(L::splat(SQRT_HALF)));
            let (far_even, far_odd) = (y[2].mul_add(two, y[0]), y[3].mul_add(two, y[1]).mul(L::splat(SQRT_2)));
            [y[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), y[3]]
        }
    }
}

/// G g: from a row of weights.
pub(super) struct Weights;

impl OneWay<TAPS, IN> for Weights {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(g: [L; TAPS]) -> [L; IN] {
        // SAFETY: the caller has the level.
        unsafe {
            let (even, odd) =
                (g[2].mul_add(L::splat(0.5), g[0]).mul(L::splat(-2.0 / 3.0)), g[1].mul(L::splat(-2.0 / 3.0 * SQRT_HALF)));
            let (far_even, far_odd) =
                (g[2].mul_add(L::splat(2.0), g[0]).mul(L::splat(1.0 / 6.0)), g[1].mul(L::splat(SQRT_2 / 6.0)));
            [g[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), g[2]]
        }
    }
}

/// Gᵀ u: the transpose of [`Weights`], to gradients of the weights.
pub(super) struct WeightsGrad;

impl OneWay<IN, TAPS> for WeightsGrad {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(u: [L; IN]) -> [L; TAPS] {
        // SAFETY: the caller has the level.
        unsafe {
            let (near, near_odd) =
                (u[1].add(u[2]).mul(L::splat(-2.0 / 3.0)), u[1].sub(u[2]).mul(L::splat(-2.0 / 3.0 * SQRT_HALF)));
            let (far, far_odd) = (u[3].add(u[4]).mul(L::splat(1.0 / 6.0)), u[3].sub(u[4]).mul(L::splat(SQRT_2 / 6.0)));
            [u[0].add(near).add(far), near_odd.add(far_odd), near.mul_add(L::splat(0.5), far.mul_add(L::splat(2.0), u[5]))]
        }
    }
}

/// A transform of A values into B.
pub(super) trait OneWay<const A: usize, const B: usize> {
    /// # Safety
    /// The CPU has the level of `L`.
    unsafe fn apply<L: Lanes>(x: [L; A]) -> [L; B];
}

/// Applies `T` to the columns of a patch, then to the rows.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub(super) unsafe fn both_ways<T: OneWay<A, B>, L: Lanes, const A: usize, const B: usize>(patch: &[[L; A]; A]) -> [[L; B]; B] {
    // Loops and no closures: only what is marked to be inlined is sure to be compiled for the level.
    // SAFETY: passed on.
    unsafe {
        let mut columns = [[L::splat(0.0); A]; B];
        for j in 0..A {
            let mut column = patch[0];
            for i in 0..A {
                column[i] = patch[i][j];
            }
            let transformed = T::apply(column);
            for i in 0..B {
                columns[i][j] = transformed[i];
            }
        }
        let mut both = [[columns[0][0]; B]; B];
        for i in 0..B {
            both[i] = T::apply(columns[i]);
        }
        both
    }
}

/// The patch whose values lie `step` floats apart, row by row.
///
/// # Safety
/// The CPU has the level of `L`, and every value is a whole vector.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes, const A: usize>(from: *const f32, step: usize) -> [[L; A]; A] {
    // SAFETY: passed on.
    unsafe {
        let mut patch = [[L::splat(0.0); A]; A];
        for (i, row) in patch.iter_mut().enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = L::load(from.add((i * A + j) * step));
            }
        }
        patch
    }
}

/// Writes a patch whose values lie `step` floats apart, row by row.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(super) unsafe fn store<L: Lanes, const A: usize>(patch: &[[L; A]; A], to: *mut f32, step: usize) {
    for (i, row) in patch.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            // SAFETY: passed on.
            unsafe { value.store(to.add((i * A + j) * step)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Philox, Purpose};

    /// The transforms give the correlation, up to rounding.
    #[test]
    fn four_outputs_of_three_taps() {
        let mut rng = Philox::new(5, 0, 0, Purpose::Bench);
        for _ in 0..100 {
            let d: [f32; IN] = std::array::from_fn(|_| rng.range(-1.0, 1.0));
            let g: [f32; 3] = std::array::from_fn(|_| rng.range(-1.0, 1.0));
            // SAFETY: single floats run on every CPU.
            let y = unsafe {
                let (v, u) = (Input::apply(d), Weights::apply(g));
                Output::apply(std::array::from_fn(|i| v[i] * u[i]))
            };
            for (k, found) in y.iter().enumerate() {
                let expected: f64 = (0..3).map(|j| f64::from(d[k + j]) * f64::from(g[j])).sum();
                assert!((f64::from(*found) - expected).abs() < 2e-6, "output {k}: {found}, not {expected}");
            }
        }
    }

    /// <A y, m> = <y, Aᵀ m> and <G g, u> = <g, Gᵀ u>.
    #[test]
    fn gradients_are_transposes() {
        let mut rng = Philox::new(6, 0, 0, Purpose::Bench);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for _ in 0..100 {
            let m: [f32; IN] = std::array::from_fn(|_| rng.range(-1.0, 1.0));
            let y: [f32; OUT] = std::array::from_fn(|_| rng.range(-1.0, 1.0));
            let g: [f32; 3] = std::array::from_fn(|_| rng.range(-1.0, 1.0));
            // SAFETY: single floats run on every CPU.
            let (ay, atm, gg, gtm) =
                unsafe { (OutputGrad::apply(y), Output::apply(m), Weights::apply(g), WeightsGrad::apply(m)) };
            assert!((dot(&ay, &m) - dot(&y, &atm)).abs() < 1e-5);
            assert!((dot(&gg, &m) - dot(&g, &gtm)).abs() < 1e-5);
        }
    }
}
