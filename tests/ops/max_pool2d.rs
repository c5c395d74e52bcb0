//! Max-pooling and its gradient.

#[cfg(feature = "cuda")]
use super::emulator;
use super::finite_differences::differentiate;
use super::harness::{Case, Random, check, run_case};
use crate::reference::{Array, max_pool2d};
use proptest::prelude::*;
use unet_engine::backend::{Backend, cpu};
use unet_engine::ops::Instruction;
use unet_engine::ops::max_pool2d::{MaxPool2d, MaxPool2dGrad};

fn forward(x: Array, seed: u32) -> Case {
    Case::exact(format!("shape {:?}, seed {seed}", x.shape), Instruction::MaxPool2d(MaxPool2d {}), vec![x])
}

fn gradient(x: &Array, dy: Array, seed: u32) -> Case {
    let [_, argmax] = max_pool2d::forward(x);
    let instruction = Instruction::MaxPool2dGrad(MaxPool2dGrad { size: [x.shape[1], x.shape[2]] });
    Case::exact(format!("shape {:?}, seed {seed}", x.shape), instruction, vec![dy, argmax])
}

fn check_both(shape: [usize; 4], seed: u32) {
    let random = &mut Random::new(seed);
    // Few distinct values make ties, which the first of a window wins.
    let x = random.symmetric(shape).map(|x| if seed.is_multiple_of(2) { (3.0 * x).round() } else { x });
    let dy = random.symmetric([shape[0], shape[1] / 2, shape[2] / 2, shape[3]]);
    check(&forward(x.clone(), seed));
    check(&gradient(&x, dy, seed));
}

#[test]
fn hostile_shapes() {
    let shapes = [[1, 2, 2, 1], [3, 2, 3, 3], [1, 3, 2, 65], [1, 7, 9, 17], [3, 5, 4, 8], [2, 16, 16, 16]];
    for (seed, shape) in shapes.into_iter().enumerate() {
        check_both(shape, seed as u32);
        check_both(shape, seed as u32 + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(shape in [1..4usize, 2..12, 2..12, 1..40], seed: u32) {
        check_both(shape, seed);
    }
}

#[test]
fn gradient_is_finite_differences() {
    // Distinct values, 0.01 apart and shuffled by the multiplication: far from ties.
    let shape = [2, 5, 4, 3];
    let n: usize = shape.iter().product();
    let x = Array::new(shape, (0..n).map(|i| f64::from((i * 77 % n) as f32 * 0.01)).collect());
    let dy = Random::new(2).symmetric([2, 2, 2, 3]);
    let [y, _] = max_pool2d::forward(&x);
    assert_eq!(y.shape, dy.shape);
    let by_x = differentiate(&x, &dy, |x| {
        let [y, _] = max_pool2d::forward(x);
        y
    });
    check(&gradient(&x, dy, 2).judged_by(0, by_x));
}

/// A NaN is the largest, wherever it lies: training must not hide it.
#[test]
fn nan_wins() {
    let mut backends: Vec<Box<dyn Backend>> = vec![cpu::open(1).unwrap()];
    #[cfg(feature = "cuda")]
    backends.extend(emulator::open(80, 0).map(|emulated| Box::new(emulated) as Box<dyn Backend>));
    for (i, place) in (0..4 * backends.len()).map(|i| (i / 4, i % 4)) {
        let mut data = vec![1.0, 2.0, 3.0, 4.0];
        data[place] = f64::NAN;
        let mut case = forward(Array::new([1, 2, 2, 1], vec![0.0; 4]), 0);
        case.inputs[0].data = data;
        let found = run_case(&case, &mut *backends[i]).unwrap();
        assert!(found[0].data[0].is_nan(), "place {place}");
        assert_eq!(found[1].data[0], place as f64);
    }
}
