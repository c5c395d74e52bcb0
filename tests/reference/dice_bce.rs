//! alpha * Dice + (1 - alpha) * binary cross-entropy of logits, with class weight and focal exponent.

use super::Array;
use super::elementwise::logistic;

#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    pub alpha: f64,
    pub smooth: f64,
    pub class_weight: f64,
    pub focal_gamma: f64,
}

/// Loss and sums: z, t [N, H, W, K], u [N, H, W, 1] -> [1, 1, 1, 1] and [N, 1, K, 8] with, for image and channel, the sums over pixels
/// of u p t, u p, u t, u bce, u, and of u times: p >= 0.5 and t, p >= 0.5 and not t, p < 0.5 and t.
pub fn forward(z: &Array, t: &Array, u: &Array, parameters: Parameters) -> [Array; 2] {
    let [n, h, w, k] = z.shape;
    let sums = Array::from_fn([n, 1, k, 8], |[n, _, k, part]| {
        let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        let term = |(y, x)| u.at([n, y, x, 0]) * summand(z.at([n, y, x, k]), t.at([n, y, x, k]), part, parameters);
        pixels.map(term).sum()
    });
    [Array::vector(vec![loss_of_sums(&sums, parameters)]), sums]
}

fn summand(z: f64, t: f64, part: usize, parameters: Parameters) -> f64 {
    let p = logistic(z);
    let predicted = if p >= 0.5 { 1.0 } else { 0.0 };
    match part {
        0 => p * t,
        1 => p,
        2 => t,
        3 => cross_entropy(z, t, parameters),
        4 => 1.0,
        5 => predicted * t,
        6 => predicted * (1.0 - t),
        7 => (1.0 - predicted) * t,
        _ => unreachable!("eight sums"),
    }
}

/// -class_weight t (1 - p)^gamma ln p - (1 - t) p^gamma ln(1 - p).
pub fn cross_entropy(z: f64, t: f64, parameters: Parameters) -> f64 {
    let (p, gamma) = (logistic(z), parameters.focal_gamma);
    let positive = parameters.class_weight * logistic(-z).powf(gamma) * softplus(-z);
    t * positive + (1.0 - t) * p.powf(gamma) * softplus(z)
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// The loss from the sums of all images: Dice per channel over the batch, cross-entropy over all weighted pixels and channels.
fn loss_of_sums(sums: &Array, parameters: Parameters) -> f64 {
    let [n_max, _, k_max, _] = sums.shape;
    let total = |k: usize, part: usize| (0..n_max).map(|n| sums.at([n, 0, k, part])).sum::<f64>();
    let smooth = parameters.smooth;
    let ratio = |k| (2.0 * total(k, 0) + smooth) / (total(k, 1) + total(k, 2) + smooth);
    let dice = 1.0 - (0..k_max).map(ratio).sum::<f64>() / k_max as f64;
    let weight: f64 = (0..k_max).map(|k| total(k, 4)).sum();
    let entropy: f64 = (0..k_max).map(|k| total(k, 3)).sum();
    let bce = if weight > 0.0 { entropy / weight } else { 0.0 };
    parameters.alpha * dice + (1.0 - parameters.alpha) * bce
}

/// dloss times the derivative of the loss by each logit.
pub fn grad(dloss: f64, z: &Array, t: &Array, u: &Array, sums: &Array, parameters: Parameters) -> Array {
    let [n_max, _, _, k_max] = z.shape;
    let total = |k: usize, part: usize| (0..n_max).map(|n| sums.at([n, 0, k, part])).sum::<f64>();
    let weight: f64 = (0..k_max).map(|k| total(k, 4)).sum();
    Array::from_fn(z.shape, |index @ [n, y, x, k]| {
        let (z, t, u) = (z.at(index), t.at(index), u.at([n, y, x, 0]));
        let p = logistic(z);
        let numerator = 2.0 * total(k, 0) + parameters.smooth;
        let denominator = total(k, 1) + total(k, 2) + parameters.smooth;
        let dice = -(2.0 * t * denominator - numerator) / denominator.powi(2) / k_max as f64 * u * p * logistic(-z);
        let bce = if weight > 0.0 { u * cross_entropy_slope(z, t, parameters) / weight } else { 0.0 };
        dloss * (parameters.alpha * dice + (1.0 - parameters.alpha) * bce)
    })
}

/// The derivative of [`cross_entropy`] by z, with dp/dz = p q, q = 1 - p.
fn cross_entropy_slope(z: f64, t: f64, parameters: Parameters) -> f64 {
    let (p, q, gamma) = (logistic(z), logistic(-z), parameters.focal_gamma);
    // d/dz of q^gamma softplus(-z): the factor's slope is -gamma p q^gamma, that of softplus(-z) is -q.
    let positive = -q.powf(gamma) * (gamma * p * softplus(-z) + q);
    // d/dz of p^gamma softplus(z).
    let negative = p.powf(gamma) * (gamma * q * softplus(z) + p);
    parameters.class_weight * t * positive + (1.0 - t) * negative
}
