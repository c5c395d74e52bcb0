//! The loss and its gradient.

use super::finite_differences::differentiate;
use super::harness::{Case, Random, check};
use crate::engine::interpreter::loss_parameters;
use crate::reference::elementwise::logistic;
use crate::reference::{Array, dice_bce};
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::dice_bce::{DiceBce, DiceBceGrad, LossParameters};

struct Data {
    z: Array,
    t: Array,
    u: Array,
    parameters: LossParameters,
    name: String,
}

const PLAIN: LossParameters = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
const WEIGHTED: LossParameters = LossParameters { alpha: 0.3, smooth: 0.5, class_weight: 4.0, focal_gamma: 0.0 };
const FOCAL: LossParameters = LossParameters { alpha: 0.0, smooth: 1.0, class_weight: 2.0, focal_gamma: 2.0 };
const FOCAL_AND_DICE: LossParameters = LossParameters { alpha: 0.7, smooth: 1.0, class_weight: 1.0, focal_gamma: 1.5 };
/// The derivative of (1 - p_t)^gamma alone is without bound where p_t nears 1; that of the loss is not.
const SOFT_FOCAL: LossParameters = LossParameters { alpha: 0.2, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.3 };

/// Logits up to `reach` on both sides, never near 0, where rounding decides a hard count.
fn data(shape: [usize; 4], reach: f32, parameters: LossParameters, seed: u32) -> Data {
    let random = &mut Random::new(seed);
    let z = random.away_from_zero(shape, 1e-3).map(|z| f64::from((z * f64::from(reach)) as f32));
    let t = random.coins(shape, 0.3);
    let u = random.coins([shape[0], shape[1], shape[2], 1], 0.8);
    Data { z, t, u, parameters, name: format!("shape {shape:?}, reach {reach}, seed {seed}, {parameters:?}") }
}

impl Data {
    /// The plain cross-entropy bounds the focal one, whose factor is known to an absolute error only.
    fn without_focus(&self) -> dice_bce::Parameters {
        dice_bce::Parameters { focal_gamma: 0.0, ..loss_parameters(self.parameters) }
    }

    fn forward(&self) -> Case {
        let [loss, mut sums] = dice_bce::forward(&self.z, &self.t, &self.u, self.without_focus());
        let factor = 4.0 + f64::from(self.parameters.focal_gamma);
        // Hard counts and sums of weights and targets are whole numbers.
        let whole = [2, 4, 5, 6, 7];
        sums = Array::from_fn(sums.shape, |i| if whole.contains(&i[3]) { 0.0 } else { factor * sums.at(i) });
        let loss = loss.map(|l| factor * (l + 2.0));
        let length = self.z.shape[1] * self.z.shape[2];
        let instruction = Instruction::DiceBce(DiceBce { parameters: self.parameters });
        Case::new(self.name.clone(), instruction, vec![self.z.clone(), self.t.clone(), self.u.clone()], vec![loss, sums], length)
    }

    fn gradient(&self, dloss: f64) -> Case {
        let [_, sums] = dice_bce::forward(&self.z, &self.t, &self.u, loss_parameters(self.parameters));
        let sums = sums.map(|s| f64::from(s as f32));
        let magnitude = self.gradient_magnitude(&sums).map(|m| m * dloss.abs());
        let inputs = vec![Array::vector(vec![dloss]), self.z.clone(), self.t.clone(), self.u.clone(), sums];
        let instruction = Instruction::DiceBceGrad(DiceBceGrad { parameters: self.parameters });
        Case::new(self.name.clone(), instruction, inputs, vec![magnitude], 1)
    }

    /// The absolute values of the terms that cancel in the formula of the gradient.
    fn gradient_magnitude(&self, sums: &Array) -> Array {
        let p = loss_parameters(self.parameters);
        let [n_max, _, _, k_max] = self.z.shape;
        let total = |k: usize, part: usize| (0..n_max).map(|n| sums.at([n, 0, k, part])).sum::<f64>();
        let weight = (0..k_max).map(|k| total(k, 4)).sum::<f64>().max(1.0);
        Array::from_fn(self.z.shape, |index| {
            let (z, k) = (self.z.at(index), index[3]);
            let (numerator, denominator) = (2.0 * total(k, 0) + p.smooth, total(k, 1) + total(k, 2) + p.smooth);
            let dice = (2.0 * denominator + numerator) / denominator.powi(2) / k_max as f64;
            let slope = (1.0 + p.focal_gamma * (1.0 + z.abs())) * p.class_weight.max(1.0) / weight;
            // 1 - p is known to an absolute error only, so that p (1 - p) does not vanish with it.
            4.0 * (p.alpha * dice * (logistic(z) * logistic(-z) + 0.25) + (1.0 - p.alpha) * slope)
        })
    }

    fn check(&self) {
        check(&self.forward());
        check(&self.gradient(1.0));
        check(&self.gradient(f64::from(-1.7f32)));
    }
}

#[test]
fn hostile_shapes() {
    let shapes = [[1, 1, 1, 1], [3, 1, 1, 3], [1, 5, 7, 1], [3, 3, 3, 8], [1, 17, 13, 2], [2, 32, 32, 1]];
    for (seed, shape) in shapes.into_iter().enumerate() {
        for parameters in [PLAIN, WEIGHTED, FOCAL, FOCAL_AND_DICE] {
            for reach in [3.0, 60.0] {
                data(shape, reach, parameters, seed as u32).check();
            }
        }
    }
}

/// Images whose sums are made of many partial ones, the last of them short; and more channels than anybody has.
#[test]
fn large_images() {
    for (seed, shape) in [[2, 60, 75, 2], [1, 270, 255, 1], [2, 3, 5, 37]].into_iter().enumerate() {
        data(shape, 6.0, FOCAL_AND_DICE, seed as u32).check();
    }
}

/// Logits far out give large, finite losses.
#[test]
fn saturated_logits() {
    for parameters in [PLAIN, FOCAL, FOCAL_AND_DICE, SOFT_FOCAL] {
        data([1, 4, 4, 2], 3000.0, parameters, 4).check();
    }
}

/// Nothing to see, nothing to learn: no weight, no target.
#[test]
fn empty_weight_and_empty_target() {
    let mut no_weight = data([2, 3, 3, 2], 3.0, PLAIN, 5);
    no_weight.u = no_weight.u.map(|_| 0.0);
    no_weight.check();
    let case = no_weight.forward();
    assert_eq!(case.expected[0].data, [0.0], "Dice of nothing against nothing is 1");
    let mut no_target = data([2, 3, 3, 2], 3.0, PLAIN, 6);
    no_target.t = no_target.t.map(|_| 0.0);
    no_target.check();
}

fn any_parameters() -> impl Strategy<Value = LossParameters> {
    let gamma = prop_oneof![Just(0.0f32), 0.05f32..1.0, 1.0f32..3.0];
    (0.0f32..=1.0, 0.1f32..2.0, 0.5f32..8.0, gamma).prop_map(|(alpha, smooth, class_weight, focal_gamma)| LossParameters {
        alpha,
        smooth,
        class_weight,
        focal_gamma,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(shape in [1..4usize, 1..12, 1..12, 1..9], parameters in any_parameters(), seed: u32) {
        data(shape, 6.0, parameters, seed).check();
    }
}

#[test]
fn gradient_is_finite_differences() {
    for (seed, parameters) in [PLAIN, WEIGHTED, FOCAL, FOCAL_AND_DICE].into_iter().enumerate() {
        let d = data([2, 3, 4, 3], 4.0, parameters, seed as u32);
        let dloss = -0.75;
        let by_z = differentiate(&d.z, &Array::vector(vec![dloss]), |z| {
            let [loss, _] = dice_bce::forward(z, &d.t, &d.u, loss_parameters(parameters));
            loss
        });
        check(&d.gradient(dloss).judged_by(0, by_z));
    }
}
