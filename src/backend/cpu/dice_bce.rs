//! The loss and its gradient. Formulas: [`crate::ops::dice_bce`].
//!
//! Each term is computed in f32 with `libm` (exp, log1p and pow are exact to one unit in the last place) and summed in f64.

use super::arena::Operands;
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

/// Three numbers of Dice per channel.
pub(super) fn grad_workspace(z: Shape) -> usize {
    8 * 2 * z.c()
}

/// A logit with exp(-|z|), of which all terms are made: no overflow, and one exponential.
#[derive(Clone, Copy)]
struct Logit {
    z: f32,
    exp: f32,
}

impl Logit {
    fn new(z: f32) -> Logit {
        Logit { z, exp: libm::expf(-z.abs()) }
    }

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
        self.z.max(0.0) + libm::log1pf(self.exp)
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

fn add_element(sum: &mut [f64], z: f32, t: f32, u: f32, parameters: &LossParameters) {
    let logit = Logit::new(z);
    let (p, hit, t64, u64) = (f64::from(logit.sigmoid()), z >= 0.0, f64::from(t), f64::from(u));
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

pub(super) fn forward(parameters: &LossParameters, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let (z, t, u) = (operands.input(0), operands.input(1), operands.input(2));
    let (k, image, n_chunks) = (shape.c(), shape.h() * shape.w(), chunks_per_image(shape));
    let partials = &mut operands.workspace::<f64>()[..shape.n() * n_chunks * k * N_SUMS];
    partials.par_chunks_mut(k * N_SUMS).enumerate().for_each(|(i, sum)| {
        sum.fill(0.0);
        let (n, chunk) = (i / n_chunks, i % n_chunks);
        for pixel in n * image + chunk * CHUNK_PIXELS..n * image + ((chunk + 1) * CHUNK_PIXELS).min(image) {
            // A pixel without weight contributes nothing, whatever was predicted there.
            if u[pixel] != 0.0 {
                for (c, sum) in sum.chunks_exact_mut(N_SUMS).enumerate() {
                    add_element(sum, z[pixel * k + c], t[pixel * k + c], u[pixel], parameters);
                }
            }
        }
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

pub(super) fn grad(parameters: &LossParameters, operands: &mut Operands) {
    let shape = operands.input_shape(1);
    let (dloss, k) = (f64::from(operands.input(0)[0]), shape.c());
    let [z, t, u, kept] = [1, 2, 3, 4].map(|i| operands.input(i));
    let total = |c: usize, i: usize| -> f64 { kept.chunks_exact(k * N_SUMS).map(|image| f64::from(image[c * N_SUMS + i])).sum() };
    // Per channel the two values of dDice/dp, for t = 0 and what t = 1 adds.
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
    operands.output(0).par_chunks_mut(CHUNK_PIXELS * k).enumerate().for_each(|(chunk, dz)| {
        for (i, dz) in dz.iter_mut().enumerate() {
            let (at, c) = (chunk * CHUNK_PIXELS * k + i, i % k);
            let (z, t, u) = (Logit::new(z[at]), t[at], u[at / k]);
            *dz = 0.0;
            if u != 0.0 {
                let slope = f64::from(z.sigmoid() * z.negated().sigmoid()) * (dice[2 * c] + dice[2 * c + 1] * f64::from(t));
                let entropy = entropy * f64::from(cross_entropy_derivative(z, t, parameters));
                *dz = (f64::from(u) * (slope + entropy)) as f32;
            }
        }
    });
}
