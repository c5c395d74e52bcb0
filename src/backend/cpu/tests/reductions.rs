//! Sums over pixels, and batch normalisation, which lives on them.

use super::{Tensor, check, random, run, ways};
use crate::ops::Instruction;
use crate::ops::batch_norm::{BatchNormApply, BatchNormGradApply, BatchNormGradReduce, BatchNormStatistics, Gate};
use crate::ops::channel_sum::ChannelSum;
use crate::plan::Precision;
use crate::tape::Shape;

/// Where ReLU let the very last bit through, the gradient passes, and nowhere else.
#[test]
fn the_gate_of_the_gradient_is_that_of_relu() {
    let eps = 1e-5f32;
    for c in [17, 65] {
        let shape = Shape::image(1, 5, 7, c);
        let vector = |x: f32| (Shape::channels(c), vec![x; c]);
        let (mean, var, mut gamma) = (vector(0.1), vector(0.5), vector(1.3));
        let mut beta = vector(-(0.37 - 0.1) * (1.3 / (0.5 + eps).sqrt()));
        // A channel in which everything becomes 0.
        (gamma.1[3], beta.1[3]) = (0.0, 0.0);
        let near = |i: usize| f32::from_bits(0.37f32.to_bits() - 20 + (i * 7 % 41) as u32);
        let x = (shape, (0..shape.len()).map(near).collect::<Vec<_>>());
        let ones = (shape, vec![1.0; shape.len()]);
        for way in ways().filter(|way| way.precision == Precision::F32) {
            let inputs = [&x, &mean, &var, &gamma, &beta].map(Tensor::clone);
            let apply = Instruction::BatchNormApply(BatchNormApply { eps, residual: false, relu: true });
            let y = &run(way, 2, &apply, &inputs)[0];
            let inputs = [&ones, &x, &mean, &var, &gamma, &beta, &beta, &beta].map(Tensor::clone);
            let grad = BatchNormGradApply { eps, residual: true, gate: Gate::Normalised };
            let dz = &run(way, 2, &Instruction::BatchNormGradApply(grad), &inputs)[1];
            let passed = y.iter().filter(|y| **y > 0.0).count();
            assert!(passed > y.len() / 5 && passed < y.len() * 4 / 5, "{way:?}: numbers on either side, {passed} above 0");
            assert!(y.iter().zip(dz).all(|(y, dz)| *dz == f32::from(u8::from(*y > 0.0))), "{way:?}, {c} channels");
            // As the sums have it: dbeta counts what passes.
            let inputs = [&ones, &x, &mean, &var, &gamma, &beta].map(Tensor::clone);
            let reduce = Instruction::BatchNormGradReduce(BatchNormGradReduce { eps, gate: Gate::Normalised });
            assert_eq!(run(way, 2, &reduce, &inputs)[1].iter().sum::<f32>(), passed as f32, "{way:?}, {c} channels");
        }
    }
}

/// Images for reductions and normalisation: odd, tiny, several chunks; the last one's results are stored past the caches.
const IMAGES: [[usize; 4]; 7] =
    [[1, 1, 2, 1], [3, 1, 1, 3], [1, 5, 7, 8], [3, 9, 4, 17], [1, 3, 5, 65], [2, 40, 60, 33], [2, 37, 40, 32]];

/// The sum over pixels of `f(element)` for each channel, and of its absolute value.
fn per_channel(shape: Shape, f: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); shape.c()];
    for i in 0..shape.len() {
        let sum = &mut sums[i % shape.c()];
        sum.0 += f(i);
        sum.1 += f(i).abs();
    }
    sums
}

#[test]
fn statistics_survive_a_large_mean() {
    for image in IMAGES {
        let (shape, mut x) = random(Shape(image), 1);
        x.iter_mut().for_each(|x| *x += 1000.0);
        let count = shape.pixels() as f64;
        let mean: Vec<f64> = per_channel(shape, |i| f64::from(x[i])).iter().map(|s| s.0 / count).collect();
        let var = per_channel(shape, |i| (f64::from(x[i]) - mean[i % shape.c()]).powi(2) / count);
        let mean = mean.iter().map(|&m| (m, m.abs())).collect();
        check(
            &format!("statistics {image:?}"),
            &Instruction::BatchNormStatistics(BatchNormStatistics {}),
            &[(shape, x)],
            &[mean, var],
        );
    }
}

#[test]
fn channel_sums() {
    for image in IMAGES {
        let (shape, x) = random(Shape(image), 1);
        let expected = per_channel(shape, |i| f64::from(x[i]));
        check(&format!("channel_sum {image:?}"), &Instruction::ChannelSum(ChannelSum {}), &[(shape, x)], &[expected]);
    }
}

#[test]
fn batch_norm_forward_and_gradients() {
    let eps = 1e-5;
    for (image, residual, relu) in IMAGES.into_iter().flat_map(|i| [(i, false, true), (i, true, true), (i, true, false)]) {
        let (x, dy, skip) = (random(Shape(image), 1), random(Shape(image), 2), random(Shape(image), 3));
        let (shape, c) = (x.0, x.0.c());
        let vector = |stream, low: f32| {
            let (s, v) = random(Shape::channels(c), stream);
            (s, v.iter().map(|v| low + v.abs()).collect::<Vec<f32>>())
        };
        let (mean, var, gamma, beta) = (vector(4, -0.5), vector(5, 0.3), vector(6, 0.5), vector(7, -0.5));
        let f = |v: &Tensor, i: usize| f64::from(v.1[i % c]);
        let inverse = |i| 1.0 / (f(&var, i) + f64::from(eps)).sqrt();
        let xhat = |i: usize| (f64::from(x.1[i]) - f(&mean, i)) * inverse(i);
        let z = |i: usize| f(&gamma, i) * xhat(i) + f(&beta, i) + if residual { f64::from(skip.1[i]) } else { 0.0 };
        let y: Vec<f64> = (0..shape.len()).map(|i| if relu { z(i).max(0.0) } else { z(i) }).collect();
        let name = format!("batch_norm {image:?} residual {residual} relu {relu}");
        let apply = Instruction::BatchNormApply(BatchNormApply { eps, residual, relu });
        let inputs: Vec<Tensor> = [x.clone(), mean.clone(), var.clone(), gamma.clone(), beta.clone()]
            .into_iter()
            .chain(residual.then_some(skip))
            .collect();
        check(&name, &apply, &inputs, &[y.iter().map(|&y| (y, 4.0)).collect()]);

        let y32 = (shape, y.iter().map(|&y| y as f32).collect::<Vec<f32>>());
        let dz = |i: usize| if relu && y32.1[i] <= 0.0 { 0.0 } else { f64::from(dy.1[i]) };
        let (dbeta, dgamma) = (per_channel(shape, dz), per_channel(shape, |i| dz(i) * xhat(i)));
        let gate = Gate::of(residual, relu);
        let reduce = Instruction::BatchNormGradReduce(BatchNormGradReduce { eps, gate });
        let (of_reduce, of_apply) = match gate {
            Gate::Open => (vec![], vec![]),
            Gate::Output => (vec![y32.clone()], vec![y32.clone()]),
            Gate::Normalised => (vec![gamma.clone(), beta.clone()], vec![beta.clone()]),
        };
        let inputs: Vec<Tensor> = [dy.clone(), x.clone(), mean.clone(), var.clone()].into_iter().chain(of_reduce).collect();
        check(&name, &reduce, &inputs, &[dgamma.clone(), dbeta.clone()]);

        let given = |v: &[(f64, f64)]| (Shape::channels(c), v.iter().map(|s| s.0 as f32).collect::<Vec<f32>>());
        let (dgamma, dbeta, m) = (given(&dgamma), given(&dbeta), shape.pixels() as f64);
        let dx = |i: usize| f(&gamma, i) * inverse(i) * (dz(i) - f(&dbeta, i) / m - xhat(i) * f(&dgamma, i) / m);
        let mut expected = vec![(0..shape.len()).map(|i| (dx(i), 4.0)).collect::<Vec<_>>()];
        expected.extend(residual.then(|| (0..shape.len()).map(|i| (dz(i), 1.0)).collect()));
        let op = Instruction::BatchNormGradApply(BatchNormGradApply { eps, residual, gate });
        let inputs: Vec<Tensor> = [dy, x, mean, var, gamma, dgamma, dbeta].into_iter().chain(of_apply).collect();
        check(&name, &op, &inputs, &expected);
    }
}
