//! Batch normalisation (Ioffe and Szegedy 2015) over all pixels of a batch, with residual sum and ReLU behind it.

use super::Array;
use super::elementwise::{add, channel_sum, relu, relu_grad};

/// Mean and biased variance of each channel.
pub fn statistics(x: &Array) -> [Array; 2] {
    let m = n_values(x);
    let mean = channel_sum(x).map(|sum| sum / m);
    let deviations = per_channel(x, |x, c| (x - mean.data[c]).powi(2));
    let var = channel_sum(&deviations).map(|sum| sum / m);
    [mean, var]
}

/// running <- (1 - momentum) running + momentum new, with the unbiased variance.
pub fn update(mean: &Array, var: &Array, running: [&Array; 2], momentum: f64, count: usize) -> [Array; 2] {
    let unbiased = count as f64 / (count as f64 - 1.0);
    let blend = |old: &Array, new: &Array, factor: f64| old.zip(new, |old, new| (1.0 - momentum) * old + momentum * new * factor);
    [blend(running[0], mean, 1.0), blend(running[1], var, unbiased)]
}

/// y = gamma (x - mean) / sqrt(var + eps) + beta (+ residual), then ReLU if asked for.
pub fn apply(x: &Array, [mean, var, gamma, beta]: [&Array; 4], residual: Option<&Array>, eps: f64, with_relu: bool) -> Array {
    let hat = normalised(x, mean, var, eps);
    let mut y = per_channel(&hat, |hat, c| gamma.data[c] * hat + beta.data[c]);
    if let Some(residual) = residual {
        y = add(&y, residual);
    }
    if with_relu { relu(&y) } else { y }
}

/// dgamma and dbeta; `y` masks dy where ReLU is behind.
pub fn grad_reduce(dy: &Array, x: &Array, mean: &Array, var: &Array, y: Option<&Array>, eps: f64) -> [Array; 2] {
    let dz = behind_relu(dy, y);
    let hat = normalised(x, mean, var, eps);
    [channel_sum(&dz.zip(&hat, |d, h| d * h)), channel_sum(&dz)]
}

/// dx = gamma / sqrt(var + eps) (dz - dbeta / M - xhat dgamma / M), and dz itself, the gradient of the residual.
pub fn grad_apply(dy: &Array, x: &Array, vectors: [&Array; 5], y: Option<&Array>, eps: f64) -> [Array; 2] {
    let [mean, var, gamma, dgamma, dbeta] = vectors;
    let m = n_values(x);
    let dz = behind_relu(dy, y);
    let mean_taken = per_channel(&dz, |dz, c| dz - dbeta.data[c] / m);
    let along = per_channel(&normalised(x, mean, var, eps), |hat, c| hat * dgamma.data[c] / m);
    let dx = mean_taken.zip(&along, |a, b| a - b);
    [per_channel(&dx, |dx, c| dx * gamma.data[c] / (var.data[c] + eps).sqrt()), dz]
}

pub fn normalised(x: &Array, mean: &Array, var: &Array, eps: f64) -> Array {
    per_channel(x, |x, c| (x - mean.data[c]) / (var.data[c] + eps).sqrt())
}

/// The number of values in a channel.
pub fn n_values(x: &Array) -> f64 {
    (x.data.len() / x.shape[3]) as f64
}

/// `f(value, channel)` of each element.
pub fn per_channel(x: &Array, f: impl Fn(f64, usize) -> f64) -> Array {
    let c_max = x.shape[3];
    Array { shape: x.shape, data: x.data.iter().enumerate().map(|(i, &x)| f(x, i % c_max)).collect() }
}

fn behind_relu(dy: &Array, y: Option<&Array>) -> Array {
    y.map_or_else(|| dy.clone(), |y| relu_grad(dy, y))
}
