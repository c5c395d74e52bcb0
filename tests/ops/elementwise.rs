//! ReLU, its gradient, the sum of two images, the logistic function, and the sum over pixels.

use super::finite_differences::differentiate;
use super::harness::{Case, Random, check};
use crate::reference::{Array, elementwise};
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::add::Add;
use unet_engine::ops::channel_sum::ChannelSum;
use unet_engine::ops::relu::{Relu, ReluGrad};
use unet_engine::ops::sigmoid::Sigmoid;

fn check_all(shape: [usize; 4], seed: u32) {
    let random = &mut Random::new(seed);
    let name = format!("shape {shape:?}, seed {seed}");
    let mut x = random.symmetric(shape);
    // Ties and signed zeros: the gradient at 0 is 0.
    x.data.iter_mut().step_by(5).for_each(|x| *x = 0.0);
    x.data.iter_mut().skip(1).step_by(7).for_each(|x| *x = -0.0);
    let dy = random.symmetric(shape);
    check(&Case::exact(name.clone(), Instruction::Relu(Relu {}), vec![x.clone()]));
    check(&Case::exact(name.clone(), Instruction::ReluGrad(ReluGrad {}), vec![dy.clone(), elementwise::relu(&x)]));
    check(&Case::linear(name.clone(), Instruction::Add(Add {}), vec![x, dy.clone()], 1));
    check(&Case::linear(name.clone(), Instruction::ChannelSum(ChannelSum {}), vec![dy], shape[..3].iter().product()));
    check(&sigmoid(name, random.array(shape, -20.0, 20.0)));
}

/// exp carries an error of its own, in units of the result.
fn sigmoid(name: String, x: Array) -> Case {
    let magnitude = elementwise::sigmoid(&x).map(|y| 2.0 * y);
    Case::new(name, Instruction::Sigmoid(Sigmoid {}), vec![x], vec![magnitude], 1)
}

#[test]
fn hostile_shapes() {
    let shapes = [[1, 1, 1, 1], [3, 1, 1, 3], [1, 5, 7, 1], [1, 1, 1, 65], [3, 3, 5, 17], [1, 31, 33, 8], [2, 64, 64, 3]];
    for (seed, shape) in shapes.into_iter().enumerate() {
        check_all(shape, seed as u32);
    }
}

/// The largest of a NaN and 0 is the NaN: training must not hide it. Its gradient is none.
#[test]
fn relu_keeps_nan() {
    let x = Array::vector(vec![f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -1.0, 1.0]);
    let dy = Array::vector(vec![1.0; 5]);
    check(&Case::exact("not finite".into(), Instruction::Relu(Relu {}), vec![x.clone()]));
    check(&Case::exact("not finite".into(), Instruction::ReluGrad(ReluGrad {}), vec![dy, x]));
}

/// Far out the function is 0 or 1 and never NaN.
#[test]
fn sigmoid_saturates() {
    let x = Array::vector(vec![
        f64::from(f32::MIN),
        -200.0,
        -100.0,
        -88.0,
        -30.0,
        0.0,
        30.0,
        88.0,
        100.0,
        200.0,
        f64::from(f32::MAX),
    ]);
    check(&sigmoid("far out".into(), x));
}

/// A long sum keeps its precision: partial sums of fixed size, not one after the other.
#[test]
fn long_sums() {
    let x = Random::new(3).array([1, 512, 512, 1], 0.0, 1.0);
    check(&Case::linear("512 x 512".into(), Instruction::ChannelSum(ChannelSum {}), vec![x], 512));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(shape in [1..4usize, 1..12, 1..12, 1..70], seed: u32) {
        check_all(shape, seed);
    }
}

#[test]
fn gradients_are_finite_differences() {
    let random = &mut Random::new(9);
    let x = random.away_from_zero([2, 3, 3, 5], 1e-3);
    let dy = random.symmetric(x.shape);
    let by_x = differentiate(&x, &dy, elementwise::relu);
    let y = elementwise::relu(&x);
    check(&Case::exact("relu".into(), Instruction::ReluGrad(ReluGrad {}), vec![dy.clone(), y]).judged_by(0, by_x));
    let b = random.symmetric([1, 1, 1, 5]);
    let by_bias = differentiate(&b, &dy, |b| crate::reference::batch_norm::per_channel(&x, |x, c| x + b.data[c]));
    check(&Case::linear("bias".into(), Instruction::ChannelSum(ChannelSum {}), vec![dy], 18).judged_by(0, by_bias));
}
