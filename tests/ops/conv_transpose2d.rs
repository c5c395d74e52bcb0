//! Transposed convolution and its gradients.

use super::finite_differences::differentiate;
use super::harness::{Case, Random, check};
use crate::reference::{Array, conv_transpose2d};
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::conv_transpose2d::{ConvTranspose2d, ConvTranspose2dDataGrad, ConvTranspose2dWeightGrad};

struct Data {
    w: Array,
    x: Array,
    b: Array,
    dy: Array,
    name: String,
}

/// `[n, h, w]` of the small image, channels in and out.
fn data([n, h, w]: [usize; 3], [ci, co]: [usize; 2], seed: u32) -> Data {
    let random = &mut Random::new(seed);
    Data {
        w: random.symmetric([2, 2, ci, co]),
        x: random.symmetric([n, h, w, ci]),
        b: random.symmetric([1, 1, 1, co]),
        dy: random.symmetric([n, 2 * h, 2 * w, co]),
        name: format!("image {:?}, channels {ci} to {co}, seed {seed}", [n, h, w]),
    }
}

impl Data {
    fn forward(&self) -> Case {
        let inputs = vec![self.w.clone(), self.x.clone(), self.b.clone()];
        Case::linear(self.name.clone(), Instruction::ConvTranspose2d(ConvTranspose2d {}), inputs, self.w.shape[2])
    }

    fn data_grad(&self) -> Case {
        let inputs = vec![self.w.clone(), self.dy.clone()];
        let instruction = Instruction::ConvTranspose2dDataGrad(ConvTranspose2dDataGrad {});
        Case::linear(self.name.clone(), instruction, inputs, 4 * self.w.shape[3])
    }

    fn weight_grad(&self) -> Case {
        let inputs = vec![self.dy.clone(), self.x.clone()];
        let instruction = Instruction::ConvTranspose2dWeightGrad(ConvTranspose2dWeightGrad {});
        Case::linear(self.name.clone(), instruction, inputs, self.x.shape[..3].iter().product())
    }

    fn check(&self) {
        check(&self.forward());
        check(&self.data_grad());
        check(&self.weight_grad());
    }
}

#[test]
fn hostile_shapes() {
    let images = [[1, 1, 1], [3, 1, 1], [1, 1, 5], [1, 3, 1], [3, 3, 5], [1, 7, 4], [2, 8, 8]];
    let channels = [[1, 1], [3, 8], [65, 1], [1, 65], [17, 17], [16, 32], [65, 65]];
    for (i, image) in images.into_iter().enumerate() {
        for (j, channels) in channels.into_iter().enumerate() {
            data(image, channels, (10 * i + j) as u32).check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(image in [1..4usize, 1..10, 1..10], channels in [1..40usize, 1..40], seed: u32) {
        data(image, channels, seed).check();
    }
}

#[test]
fn gradients_are_finite_differences() {
    for (image, channels, seed) in [([2, 2, 3], [3, 2], 1), ([1, 1, 1], [1, 5], 2), ([1, 3, 2], [4, 3], 3)] {
        let d = data(image, channels, seed);
        let by_image = differentiate(&d.x, &d.dy, |x| conv_transpose2d::forward(&d.w, x, &d.b));
        check(&d.data_grad().judged_by(0, by_image));
        let by_weights = differentiate(&d.w, &d.dy, |w| conv_transpose2d::forward(w, &d.x, &d.b));
        check(&d.weight_grad().judged_by(0, by_weights));
    }
}
