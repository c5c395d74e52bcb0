//! Batch normalisation. Formulas: [`crate::ops::batch_norm`].

use super::arena::Operands;
use super::check_finite;
use super::columns::{self, Terms};
use super::map::{self, Elements, Out, load, stream};
use super::simd::{Lanes, Level, Stored};
use crate::ops::batch_norm::{BatchNormApply, BatchNormGradApply, BatchNormGradReduce, BatchNormUpdate, Gate};
use crate::tape::Shape;

pub(super) fn reduce_workspace(x: Shape) -> usize {
    columns::workspace(x.pixels(), x.c())
}

/// Room for three numbers per channel.
pub(super) fn apply_workspace(x: Shape) -> usize {
    3 * 4 * x.c()
}

/// The partial sums, and a number per channel.
pub(super) fn grad_reduce_workspace(x: Shape) -> usize {
    reduce_workspace(x) + 4 * x.c().next_multiple_of(2)
}

/// x - shift and its square, shifted by the chunk's first pixel: the variance then suffers no cancellation from a large mean.
struct Moments<'a, T> {
    x: &'a [T],
}

impl<T: Stored> Terms for Moments<'_, T> {
    #[inline(always)]
    unsafe fn terms<L: Lanes>(&self, at: usize, channel: usize, first: usize) -> [L; 2] {
        // SAFETY: passed on.
        unsafe {
            let d = stream::<L, T>(self.x, at).sub(load::<L, T>(self.x, first + channel));
            [d, d.mul(d)]
        }
    }
}

pub(super) fn statistics<T: Stored>(level: Level, operands: &mut Operands) {
    let (x, shape) = (operands.input_as::<T>(0), operands.input_shape(0));
    let (pixels, channels) = (shape.pixels(), shape.c());
    let partials = operands.workspace::<f64>();
    columns::sum(level, &Moments { x }, pixels, channels, partials);
    let (mean, var) = (operands.output(0), operands.output(1));
    let (size, n_chunks) = columns::chunks(pixels, channels);
    for c in 0..channels {
        // Chan, Golub and LeVeque 1983: (count, mean, sum of squared deviations) of two parts make those of the whole.
        let (mut count, mut total_mean, mut squares) = (0.0, 0.0, 0.0);
        for chunk in 0..n_chunks {
            let n = size.min(pixels - chunk * size) as f64;
            let sums = &partials[chunk * 2 * channels..][..2 * channels];
            let (d, d2) = (sums[c], sums[channels + c]);
            let chunk_mean = f64::from(x[chunk * size * channels + c].widen()) + d / n;
            let delta = chunk_mean - total_mean;
            squares += d2 - d * d / n + delta * delta * count * n / (count + n);
            total_mean += delta * n / (count + n);
            count += n;
        }
        mean[c] = total_mean as f32;
        var[c] = (squares / count).max(0.0) as f32;
    }
}

pub(super) fn update(op: &BatchNormUpdate, operands: &mut Operands) {
    if check_finite::is_raised(operands, 2) {
        return;
    }
    let unbiased = op.count as f32 / (op.count - 1) as f32;
    let momentum = op.momentum;
    for (index, factor) in [(0, 1.0), (1, unbiased)] {
        let (batch, running) = (operands.input(index), operands.output(index));
        running.iter_mut().zip(batch).for_each(|(r, b)| *r = (1.0 - momentum) * *r + momentum * factor * b);
    }
}

/// Per channel gamma / sqrt(var + eps), and beta less what that makes of the mean: z scale + shift normalises z.
pub(super) fn scale_and_shift([mean, var, gamma, beta]: [&[f32]; 4], eps: f32, scale: &mut [f32], shift: &mut [f32]) {
    scales(gamma, var, eps, scale);
    for c in 0..mean.len() {
        shift[c] = beta[c] - mean[c] * scale[c];
    }
}

/// gamma / sqrt(var + eps) per channel: of the forward pass and, to the last bit, of the gradients' gate.
fn scales(gamma: &[f32], var: &[f32], eps: f32, scale: &mut [f32]) {
    for (c, scale) in scale.iter_mut().enumerate().take(gamma.len()) {
        *scale = gamma[c] * inverse_deviation(var[c], eps);
    }
}

/// 1 / sqrt(var + eps).
fn inverse_deviation(var: f32, eps: f32) -> f32 {
    (1.0 / f64::from(var + eps).sqrt()) as f32
}

struct Apply<'a, T> {
    x: &'a [T],
    mean: &'a [f32],
    /// gamma / sqrt(var + eps)
    scale: &'a [f32],
    beta: &'a [f32],
    residual: Option<&'a [T]>,
    relu: bool,
    y: Out<T>,
}

impl<T: Stored> Elements for Apply<'_, T> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, c: usize) {
        // SAFETY: passed on.
        unsafe {
            let centred = stream::<L, T>(self.x, at).sub(load(self.mean, c));
            let mut z = centred.mul_add(load(self.scale, c), load(self.beta, c));
            if let Some(residual) = self.residual {
                z = z.add(stream(residual, at));
            }
            self.y.store(at, if self.relu { z.relu() } else { z });
        }
    }
}

pub(super) fn apply<T: Stored>(level: Level, op: &BatchNormApply, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let (mean, var, gamma, beta) = (operands.input(1), operands.input(2), operands.input(3), operands.input(4));
    let scale = &mut operands.workspace::<f32>()[..shape.c()];
    scales(gamma, var, op.eps, scale);
    let residual = op.residual.then(|| operands.input_as::<T>(5));
    let y = Out::whole(operands.output_as(0), shape.len(), shape.c());
    let work = Apply { x: operands.input_as(0), mean, scale, beta, residual, relu: op.relu, y };
    map::pixels(level, &work, shape.pixels(), shape.c());
}

/// What tells where dy counts.
enum Passing<'a, T> {
    Open,
    Output(&'a [T]),
    /// Of the normalisation: gamma / sqrt(var + eps), and beta.
    Normalised([&'a [f32]; 2]),
}

/// dz and dz (x - mean).
struct GradTerms<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    mean: &'a [f32],
    passing: Passing<'a, T>,
}

impl<T: Stored> GradTerms<'_, T> {
    #[inline(always)]
    unsafe fn dz_and_centred<L: Lanes>(&self, at: usize, c: usize) -> [L; 2] {
        // SAFETY: passed on.
        unsafe {
            let dy = stream::<L, T>(self.dy, at);
            let centred = stream::<L, T>(self.x, at).sub(load(self.mean, c));
            let dz = match self.passing {
                Passing::Open => dy,
                Passing::Output(y) => dy.where_positive(stream(y, at)),
                // As in the forward pass, to the last bit.
                Passing::Normalised([scale, beta]) => dy.where_positive(centred.mul_add(load(scale, c), load(beta, c))),
            };
            [dz, centred]
        }
    }
}

impl<T: Stored> Terms for GradTerms<'_, T> {
    #[inline(always)]
    unsafe fn terms<L: Lanes>(&self, at: usize, channel: usize, _first: usize) -> [L; 2] {
        // SAFETY: passed on.
        unsafe {
            let [dz, centred] = self.dz_and_centred::<L>(at, channel);
            [dz, dz.mul(centred)]
        }
    }
}

pub(super) fn grad_reduce<T: Stored>(level: Level, op: &BatchNormGradReduce, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let var = operands.input(3);
    let (scale, partials) = operands.workspace::<f32>().split_at_mut(shape.c().next_multiple_of(2));
    let partials: &mut [f64] = bytemuck::cast_slice_mut(partials);
    let passing = match op.gate {
        Gate::Open => Passing::Open,
        Gate::Output => Passing::Output(operands.input_as(4)),
        Gate::Normalised => {
            scales(operands.input(4), var, op.eps, scale);
            Passing::Normalised([&*scale, operands.input(5)])
        }
    };
    let terms = GradTerms { dy: operands.input_as::<T>(0), x: operands.input_as(1), mean: operands.input(2), passing };
    columns::sum(level, &terms, shape.pixels(), shape.c(), partials);
    let (dgamma, dbeta) = (operands.output(0), operands.output(1));
    columns::combine(partials, shape.pixels(), shape.c(), |c, [dz, dz_centred]| {
        dbeta[c] = dz as f32;
        dgamma[c] = (dz_centred / f64::from(var[c] + op.eps).sqrt()) as f32;
    });
}

/// dx = scale dz - (offset + slope (x - mean)) with numbers per channel.
struct GradApply<'a, T> {
    terms: GradTerms<'a, T>,
    scale: &'a [f32],
    offset: &'a [f32],
    slope: &'a [f32],
    dx: Out<T>,
    dresidual: Option<Out<T>>,
}

impl<T: Stored> Elements for GradApply<'_, T> {
    #[inline(always)]
    unsafe fn at<L: Lanes>(&self, at: usize, c: usize) {
        // SAFETY: passed on.
        unsafe {
            let [dz, centred] = self.terms.dz_and_centred::<L>(at, c);
            let through_statistics = centred.mul_add(load(self.slope, c), load(self.offset, c));
            self.dx.store(at, dz.mul(load(self.scale, c)).sub(through_statistics));
            if let Some(dresidual) = self.dresidual {
                dresidual.store(at, dz);
            }
        }
    }
}

pub(super) fn grad_apply<T: Stored>(level: Level, op: &BatchNormGradApply, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let [var, gamma, dgamma, dbeta] = [3, 4, 5, 6].map(|i| operands.input(i));
    let (scale, rest) = operands.workspace::<f32>().split_at_mut(shape.c());
    let (offset, slope) = rest.split_at_mut(shape.c());
    let count = shape.pixels() as f32;
    scales(gamma, var, op.eps, scale);
    for c in 0..shape.c() {
        offset[c] = scale[c] * dbeta[c] / count;
        slope[c] = scale[c] * inverse_deviation(var[c], op.eps) * dgamma[c] / count;
    }
    let scale = &*scale;
    let passing = match op.gate {
        Gate::Open => Passing::Open,
        Gate::Output => Passing::Output(operands.input_as(7)),
        Gate::Normalised => Passing::Normalised([scale, operands.input(7)]),
    };
    let terms = GradTerms { dy: operands.input_as::<T>(0), x: operands.input_as(1), mean: operands.input(2), passing };
    let dx = Out::whole(operands.output_as(0), shape.len(), shape.c());
    let dresidual = op.residual.then(|| Out::whole(operands.output_as(1), shape.len(), shape.c()));
    let work = GradApply { terms, scale, offset, slope: &slope[..shape.c()], dx, dresidual };
    map::pixels(level, &work, shape.pixels(), shape.c());
}
