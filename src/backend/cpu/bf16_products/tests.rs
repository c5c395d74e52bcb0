//! The merged gradient against its three parts, one after another.

use crate::backend::cpu::tests::{Tensor, Way, random, run};
use crate::backend::cpu::{Convolutions, Level};
use crate::ops::Instruction;
use crate::ops::batch_norm::{BatchNormGradApply, Gate};
use crate::ops::conv2d::{Conv2dDataGrad, Conv2dWeightGrad};
use crate::ops::conv2d_normalised_grad::Conv2dNormalisedGrad;
use crate::plan::Precision;
use crate::tape::Shape;

/// Images, rows, columns, channels of both images (0: none), output channels, kernel.
const CASES: &[[usize; 7]] = &[
    [1, 1, 32, 32, 0, 32, 3],
    [2, 7, 32, 32, 0, 64, 3],
    [3, 20, 64, 64, 0, 32, 3],
    [1, 9, 96, 32, 64, 64, 3],
    [2, 5, 64, 32, 32, 96, 1],
];

/// Inputs of the normalisation's gradient, without what the gate reads.
fn normalised(shape: Shape) -> Vec<Tensor> {
    let mut inputs = vec![random(shape, 1), random(shape, 2)];
    inputs.extend((3..8).map(|stream| random(Shape::channels(shape.c()), stream)));
    inputs[3].1.iter_mut().for_each(|var| *var = var.abs() + 0.5);
    inputs
}

/// The gradient of the convolution's result is the same to the last bit, and so is that of its images, whose sums have one order; sums over
/// pixels are cut in another way.
#[test]
fn merged_gradients_are_those_of_the_parts() {
    for (case, gate) in CASES.iter().flat_map(|case| [Gate::Open, Gate::Output, Gate::Normalised].map(|gate| (*case, gate))) {
        let [n, h, w, c0, c1, co, kernel] = case;
        let shape = Shape::image(n, h, w, co);
        let normalisation = BatchNormGradApply { eps: 1e-3, residual: false, gate };
        let mut inputs = normalised(shape);
        inputs.extend(match gate {
            Gate::Open => None,
            Gate::Output => Some(random(shape, 8)),
            Gate::Normalised => Some(random(Shape::channels(co), 8)),
        });
        let weights = random(Shape([kernel, kernel, c0 + c1, co]), 9);
        let images: Vec<Tensor> =
            [c0, c1].iter().filter(|c| **c > 0).zip(10..).map(|(&c, i)| random(shape.with_channels(c), i)).collect();
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            let way = Way { level, convolutions: Convolutions::Winograd, precision: Precision::Bf16 };
            let dz = run(way, 1, &Instruction::BatchNormGradApply(normalisation.clone()), &inputs).remove(0);
            let of_weights: Vec<Tensor> = [(shape, dz.clone())].into_iter().chain(images.clone()).collect();
            let dw = run(way, 1, &Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel }), &of_weights).remove(0);
            let channels = [c0, c1];
            let of_images = Instruction::Conv2dDataGrad(Conv2dDataGrad { channels });
            let dx = run(way, 1, &of_images, &[weights.clone(), (shape, dz)]);

            let merged = Conv2dNormalisedGrad { normalisation: normalisation.clone(), channels };
            let all: Vec<Tensor> = inputs.iter().chain([&weights]).chain(&images).cloned().collect();
            let found = [1, 3].map(|threads| run(way, threads, &Instruction::Conv2dNormalisedGrad(merged.clone()), &all));
            let name = format!("{case:?} {gate:?} {level:?}");
            assert_eq!(found[0], found[1], "{name}: whatever the number of threads");
            assert_eq!(found[0][1..], dx, "{name}");
            let size = dw.iter().fold(0.0f32, |most, d| most.max(d.abs()));
            let apart = dw.iter().zip(&found[0][0]).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(size > 0.0 && apart < 1e-5 * size, "{name}: {apart:e} of {size:e}");
        }
    }
}
