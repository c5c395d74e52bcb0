//! The loss and its gradient. Formulas: [`crate::ops::dice_bce`].
//!
//! Each term is computed in f32, with an exponential and a logarithm with relative errors below 2^-22, and summed in f64.

use super::arena::Operands;
use super::elementary::{exp_of_negative, ln_1p};
use super::simd::{Kernel, Lanes, Level, dispatch};
use crate::ops::dice_bce::{LossParameters, N_SUMS, sums};
use crate::tape::Shape;
use rayon::prelude::*;

/// Pixels of a partial sum.
const CHUNK_PIXELS: usize = 2048;

fn chunks_per_image(z: Shape) -> usize {
    (z.h() * z.w()).div_ceil(CHUNK_PIXELS)
}

/// f64 sums [N][chunk][K][8].
pub(super) fn workspace(z: Shape) -> usize {
    8 * z.n() * chunks_per_image(z) * z.c() * N_SUMS
}

/// Two numbers of Dice per channel.
pub(super) fn grad_workspace(z: Shape) -> usize {
    8 * 2 * z.c()
}

/// A logit with what all terms are made of: no overflow, and one exponential.
#[derive(Clone, Copy, Default)]
struct Logit {
    z: f32,
    /// exp(-|z|)
    exp: f32,
    /// ln(1 + exp(-|z|))
    ln: f32,
}

/// Logits that are prepared side by side.
const BLOCK: usize = 64;

/// Prepares up to a block of logits. What is no number stays none.
#[inline(always)]
fn logits(z: &[f32]) -> [Logit; BLOCK] {
    let mut padded = [0.0; BLOCK];
    padded[..z.len()].copy_from_slice(z);
    let (mut exp, mut ln) = ([0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        exp[i] = exp_of_negative(-padded[i].abs());
        ln[i] = ln_1p(exp[i]);
    }
    let mut logits = [Logit::default(); BLOCK];
    for (i, logit) in logits.iter_mut().enumerate() {
        *logit = Logit { z: padded[i], exp: exp[i], ln: ln[i] };
    }
    logits
}

impl Logit {
    fn negated(self) -> Logit {
        Logit { z: -self.z, ..self }
    }

    /// p
    fn sigmoid(self) -> f32 {
        let p = 1.0 / (1.0 + self.exp);
        if self.z >= 0.0 { p } else { self.exp * p }
    }

    /// softplus(z) = ln(1 + exp(z))
    fn softplus(self) -> f32 {
        self.z.max(0.0) + self.ln
    }
}

/// The focal factor x^gamma; 1 where gamma is 0, also at x = 0.
fn focal(x: f32, gamma: f32) -> f32 {
    if gamma == 0.0 { 1.0 } else { libm::powf(x, gamma) }
}

/// The cross-entropy of one element.
fn cross_entropy(z: Logit, t: f32, p: &LossParameters) -> f32 {
    let positive =
        if t != 0.0 { p.class_weight * t * z.negated().softplus() * focal(z.negated().sigmoid(), p.focal_gamma) } else { 0.0 };
    let negative = if t != 1.0 { (1.0 - t) * z.softplus() * focal(z.sigmoid(), p.focal_gamma) } else { 0.0 };
    positive + negative
}

/// Its derivative by z: of softplus(-z) q^g, q = sigmoid(-z), it is -q^g (q + g (1 - q) softplus(-z)); by symmetry for the other.
fn cross_entropy_derivative(z: Logit, t: f32, p: &LossParameters) -> f32 {
    let gamma = p.focal_gamma;
    let side = |z: Logit| {
        let q = z.sigmoid();
        let focal_part = if gamma == 0.0 { 0.0 } else { gamma * (1.0 - q) * z.softplus() };
        focal(q, gamma) * (q + focal_part)
    };
    let positive = if t != 0.0 { -p.class_weight * t * side(z.negated()) } else { 0.0 };
    let negative = if t != 1.0 { (1.0 - t) * side(z) } else { 0.0 };
    positive + negative
}

fn add_element(sum: &mut [f64], logit: Logit, t: f32, u: f32, parameters: &LossParameters) {
    let (p, hit, t64, u64) = (f64::from(logit.sigmoid()), logit.z >= 0.0, f64::from(t), f64::from(u));
    sum[sums::INTERSECTION] += u64 * p * t64;
    sum[sums::PREDICTED] += u64 * p;
    sum[sums::TARGET] += u64 * t64;
    sum[sums::CROSS_ENTROPY] += u64 * f64::from(cross_entropy(logit, t, parameters));
    sum[sums::WEIGHT] += u64;
    if hit {
        sum[sums::TRUE_POSITIVE] += u64 * t64;
        sum[sums::FALSE_POSITIVE] += u64 * (1.0 - t64);
    } else {
        sum[sums::FALSE_NEGATIVE] += u64 * t64;
    }
}

/// Some pixels of an image.
struct ChunkSums<'a> {
    parameters: &'a LossParameters,
    z: &'a [f32],
    t: &'a [f32],
    u: &'a [f32],
    /// `[K][8]`
    sums: &'a mut [f64],
}

impl Kernel for ChunkSums<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let k = self.sums.len() / N_SUMS;
        self.sums.fill(0.0);
        let (mut pixel, mut c) = (0, 0);
        for (z, t) in self.z.chunks(BLOCK).zip(self.t.chunks(BLOCK)) {
            for (logit, t) in logits(z).iter().zip(t) {
                // A pixel without weight contributes nothing, whatever was predicted there.
                if self.u[pixel] != 0.0 {
                    add_element(&mut self.sums[c * N_SUMS..][..N_SUMS], *logit, *t, self.u[pixel], self.parameters);
                }
                c += 1;
                if c == k {
                    (pixel, c) = (pixel + 1, 0);
                }
            }
        }
    }
}

pub(super) fn forward(level: Level, parameters: &LossParameters, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let (z, t, u) = (operands.input(0), operands.input(1), operands.input(2));
    let (k, image, n_chunks) = (shape.c(), shape.h() * shape.w(), chunks_per_image(shape));
    let partials = &mut operands.workspace::<f64>()[..shape.n() * n_chunks * k * N_SUMS];
    partials.par_chunks_mut(k * N_SUMS).enumerate().with_max_len(1).for_each(|(i, sums)| {
        let (n, chunk) = (i / n_chunks, i % n_chunks);
        let (from, to) = (n * image + chunk * CHUNK_PIXELS, n * image + ((chunk + 1) * CHUNK_PIXELS).min(image));
        dispatch(level, ChunkSums { parameters, z: &z[from * k..to * k], t: &t[from * k..to * k], u: &u[from..to], sums });
    });
    combine_images(partials, n_chunks * k * N_SUMS, k * N_SUMS);
    let per_image = partials.chunks_exact(n_chunks * k * N_SUMS).map(|image| &image[..k * N_SUMS]);
    let sums_out = operands.output(1);
    for (out, sum) in sums_out.chunks_exact_mut(k * N_SUMS).zip(per_image.clone()) {
        out.iter_mut().zip(sum).for_each(|(o, s)| *o = *s as f32);
    }
    operands.output(0)[0] = loss(parameters, k, |c, i| per_image.clone().map(|image| image[c * N_SUMS + i]).sum()) as f32;
}

/// Adds the chunks of each image, in order, to its first.
fn combine_images(partials: &mut [f64], image: usize, chunk: usize) {
    for partials in partials.chunks_exact_mut(image) {
        let (first, rest) = partials.split_at_mut(chunk);
        for sum in rest.chunks_exact(chunk) {
            first.iter_mut().zip(sum).for_each(|(a, b)| *a += b);
        }
    }
}

/// The loss from `total(channel, index)`.
fn loss(parameters: &LossParameters, k: usize, total: impl Fn(usize, usize) -> f64) -> f64 {
    let (alpha, smooth) = (f64::from(parameters.alpha), f64::from(parameters.smooth));
    let score = |c| {
        let numerator = 2.0 * total(c, sums::INTERSECTION) + smooth;
        let denominator = total(c, sums::PREDICTED) + total(c, sums::TARGET) + smooth;
        if denominator > 0.0 { numerator / denominator } else { 0.0 }
    };
    let dice = 1.0 - (0..k).map(score).sum::<f64>() / k as f64;
    let weight = total(0, sums::WEIGHT);
    let entropy: f64 = (0..k).map(|c| total(c, sums::CROSS_ENTROPY)).sum();
    let bce = if weight > 0.0 { entropy / (k as f64 * weight) } else { 0.0 };
    alpha * dice + (1.0 - alpha) * bce
}

/// The gradient of some pixels.
struct ChunkGrad<'a> {
    parameters: &'a LossParameters,
    z: &'a [f32],
    t: &'a [f32],
    u: &'a [f32],
    /// Per channel the two values of dDice/dp, for t = 0 and what t = 1 adds.
    dice: &'a [f64],
    /// dloss/dbce
    entropy: f64,
    dz: &'a mut [f32],
}

impl Kernel for ChunkGrad<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let k = self.dice.len() / 2;
        let (mut pixel, mut c) = (0, 0);
        for ((z, t), dz) in self.z.chunks(BLOCK).zip(self.t.chunks(BLOCK)).zip(self.dz.chunks_mut(BLOCK)) {
            for ((z, t), dz) in logits(z).iter().zip(t).zip(dz) {
                let u = f64::from(self.u[pixel]);
                *dz = 0.0;
                if u != 0.0 {
                    let dice = self.dice[2 * c] + self.dice[2 * c + 1] * f64::from(*t);
                    let slope = f64::from(z.sigmoid() * z.negated().sigmoid()) * dice;
                    let entropy = self.entropy * f64::from(cross_entropy_derivative(*z, *t, self.parameters));
                    *dz = (u * (slope + entropy)) as f32;
                }
                c += 1;
                if c == k {
                    (pixel, c) = (pixel + 1, 0);
                }
            }
        }
    }
}

pub(super) fn grad(level: Level, parameters: &LossParameters, operands: &mut Operands) {
    let shape = operands.input_shape(1);
    let (dloss, k) = (f64::from(operands.input(0)[0]), shape.c());
    let [z, t, u, kept] = [1, 2, 3, 4].map(|i| operands.input(i));
    let total = |c: usize, i: usize| -> f64 { kept.chunks_exact(k * N_SUMS).map(|image| f64::from(image[c * N_SUMS + i])).sum() };
    let dice = &mut operands.workspace::<f64>()[..2 * k];
    for (c, dice) in dice.chunks_exact_mut(2).enumerate() {
        let numerator = 2.0 * total(c, sums::INTERSECTION) + f64::from(parameters.smooth);
        let denominator = total(c, sums::PREDICTED) + total(c, sums::TARGET) + f64::from(parameters.smooth);
        let factor = if denominator > 0.0 { dloss * f64::from(parameters.alpha) / k as f64 } else { 0.0 };
        let denominator = if denominator > 0.0 { denominator } else { 1.0 };
        dice[0] = factor * numerator / (denominator * denominator);
        dice[1] = -factor * 2.0 / denominator;
    }
    let weight = total(0, sums::WEIGHT);
    let entropy = if weight > 0.0 { dloss * (1.0 - f64::from(parameters.alpha)) / (k as f64 * weight) } else { 0.0 };
    let dice = &*dice;
    operands.output(0).par_chunks_mut(CHUNK_PIXELS * k).enumerate().with_max_len(1).for_each(|(chunk, dz)| {
        let (from, n) = (chunk * CHUNK_PIXELS, dz.len());
        let (z, t, u) = (&z[from * k..][..n], &t[from * k..][..n], &u[from..][..n / k]);
        dispatch(level, ChunkGrad { parameters, z, t, u, dice, entropy, dz });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diverged_logit_spoils_all_of_its_terms() {
        let parameters = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
        let [good, bad] = [0, 1].map(|i| logits(&[0.5, f32::NAN])[i]);
        for t in [0.0, 1.0] {
            let terms = |z: Logit| [z.sigmoid(), cross_entropy(z, t, &parameters), cross_entropy_derivative(z, t, &parameters)];
            assert!(terms(good).iter().all(|x| x.is_finite()) && terms(bad).iter().all(|x| x.is_nan()));
        }
    }
}
