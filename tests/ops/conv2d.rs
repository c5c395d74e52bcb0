//! Convolution, its data gradient and its weight gradient.

use super::finite_differences::differentiate;
use super::harness::{Case, Random, check, check_on_cpu, run_case};
use crate::reference::{Array, conv2d};
use proptest::prelude::*;
use unet_engine::backend::cpu;
use unet_engine::ops::Instruction;
use unet_engine::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use unet_engine::ops::conv2d_normalised::Conv2dNormalised;

/// Kernel, batch, height, width, channels of the first and second input (0: none), output channels.
#[derive(Clone, Copy, Debug)]
struct Problem {
    kernel: usize,
    image: [usize; 3],
    channels: [usize; 2],
    co: usize,
}

impl Problem {
    fn images(&self, random: &mut Random) -> Vec<Array> {
        let [n, h, w] = self.image;
        self.channels.iter().filter(|&&c| c > 0).map(|&c| random.symmetric([n, h, w, c])).collect()
    }

    fn weights(&self, random: &mut Random) -> Array {
        random.symmetric([self.kernel, self.kernel, self.ci(), self.co])
    }

    fn upstream(&self, random: &mut Random) -> Array {
        let [n, h, w] = self.image;
        random.symmetric([n, h, w, self.co])
    }

    fn ci(&self) -> usize {
        self.channels.iter().sum()
    }

    fn name(&self, seed: u32) -> String {
        format!("{self:?}, seed {seed}")
    }

    fn forward(&self, bias: bool, seed: u32) -> Case {
        let random = &mut Random::new(seed);
        let mut inputs = vec![self.weights(random)];
        inputs.extend(self.images(random));
        inputs.extend(bias.then(|| random.symmetric([1, 1, 1, self.co])));
        let instruction = Instruction::Conv2d(Conv2d { two_inputs: self.channels[1] > 0, bias });
        Case::linear(self.name(seed), instruction, inputs, self.kernel * self.kernel * self.ci())
    }

    fn normalised(&self, relu: bool, seed: u32) -> Case {
        let random = &mut Random::new(seed);
        let mut inputs = vec![self.weights(random)];
        inputs.extend(self.images(random));
        let (n, channels) = (inputs.len(), [1, 1, 1, self.co]);
        inputs.push(random.symmetric(channels));
        inputs.push(random.array(channels, 0.5, 2.0));
        inputs.extend([random.symmetric(channels), random.symmetric(channels)]);
        // The sums of absolute terms, scaled as the sums are: by |gamma| / sqrt(0.5) at most, and two numbers on top.
        let absolute: Vec<Array> = inputs[..n].iter().map(|a| a.map(f64::abs)).collect();
        let magnitude = conv2d::forward(&absolute[0], &absolute[1..], None).map(|sum| (sum + 1.0) * 1.5 + 1.0);
        let op = Conv2dNormalised { two_inputs: self.channels[1] > 0, eps: 1e-3, relu };
        let length = self.kernel * self.kernel * self.ci();
        Case::new(self.name(seed), Instruction::Conv2dNormalised(op), inputs, vec![magnitude], length)
    }

    fn data_grad(&self, seed: u32) -> Case {
        let random = &mut Random::new(seed);
        let inputs = vec![self.weights(random), self.upstream(random)];
        let instruction = Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: self.channels });
        Case::linear(self.name(seed), instruction, inputs, self.kernel * self.kernel * self.co)
    }

    fn weight_grad(&self, seed: u32) -> Case {
        let random = &mut Random::new(seed);
        let mut inputs = vec![self.upstream(random)];
        inputs.extend(self.images(random));
        let instruction = Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel: self.kernel });
        Case::linear(self.name(seed), instruction, inputs, self.image.iter().product())
    }

    fn check(&self, seed: u32) {
        check(&self.forward(seed.is_multiple_of(2), seed));
        check_on_cpu(&self.normalised(!seed.is_multiple_of(3), seed));
        check(&self.data_grad(seed));
        check(&self.weight_grad(seed));
    }
}

const HOSTILE: &[Problem] = &[
    Problem { kernel: 3, image: [1, 1, 1], channels: [1, 0], co: 1 },
    Problem { kernel: 3, image: [3, 1, 1], channels: [65, 0], co: 3 },
    Problem { kernel: 3, image: [1, 1, 7], channels: [3, 0], co: 8 },
    Problem { kernel: 3, image: [1, 7, 1], channels: [8, 0], co: 17 },
    Problem { kernel: 3, image: [3, 5, 3], channels: [1, 0], co: 65 },
    Problem { kernel: 3, image: [1, 6, 9], channels: [17, 0], co: 17 },
    Problem { kernel: 3, image: [1, 4, 6], channels: [65, 0], co: 65 },
    Problem { kernel: 3, image: [2, 16, 16], channels: [16, 0], co: 16 },
    Problem { kernel: 3, image: [1, 13, 33], channels: [8, 0], co: 32 },
    Problem { kernel: 3, image: [3, 3, 5], channels: [1, 1], co: 1 },
    Problem { kernel: 3, image: [1, 5, 4], channels: [17, 3], co: 8 },
    Problem { kernel: 3, image: [2, 8, 8], channels: [16, 16], co: 16 },
    Problem { kernel: 3, image: [1, 2, 3], channels: [3, 65], co: 17 },
    // For warpgroups, which copy eight channels at once: several tiles, chunks and blocks, whole and not.
    Problem { kernel: 3, image: [1, 33, 17], channels: [64, 0], co: 64 },
    Problem { kernel: 3, image: [2, 2, 3], channels: [72, 8], co: 72 },
    // Between one channel and many.
    Problem { kernel: 3, image: [2, 3, 35], channels: [1, 0], co: 8 },
    Problem { kernel: 3, image: [1, 2, 9], channels: [1, 0], co: 72 },
    Problem { kernel: 1, image: [2, 2, 17], channels: [1, 0], co: 136 },
    Problem { kernel: 1, image: [2, 2, 17], channels: [136, 0], co: 1 },
    Problem { kernel: 1, image: [1, 1, 1], channels: [8, 0], co: 1 },
    Problem { kernel: 1, image: [1, 1, 1], channels: [1, 0], co: 1 },
    Problem { kernel: 1, image: [3, 5, 7], channels: [65, 0], co: 1 },
    Problem { kernel: 1, image: [1, 7, 5], channels: [1, 0], co: 65 },
    Problem { kernel: 1, image: [1, 9, 11], channels: [17, 8], co: 17 },
    Problem { kernel: 1, image: [2, 8, 8], channels: [32, 0], co: 16 },
];

#[test]
fn hostile_shapes() {
    for (seed, problem) in HOSTILE.iter().enumerate() {
        problem.check(seed as u32);
        problem.check(seed as u32 + 1000);
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let kernel = prop_oneof![Just(1usize), Just(3)];
    let image = [1..4usize, 1..12, 1..12];
    (kernel, image, 1..34usize, prop_oneof![Just(0usize), 1..20usize], 1..34usize)
        .prop_map(|(kernel, image, c0, c1, co)| Problem { kernel, image, channels: [c0, c1], co })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(problem in any_problem(), seed: u32) {
        problem.check(seed);
    }
}

#[test]
fn gradients_are_finite_differences() {
    let problems = [
        Problem { kernel: 3, image: [2, 3, 4], channels: [2, 0], co: 3 },
        Problem { kernel: 3, image: [1, 4, 2], channels: [2, 3], co: 2 },
        Problem { kernel: 1, image: [2, 2, 3], channels: [3, 1], co: 4 },
        Problem { kernel: 3, image: [1, 1, 1], channels: [4, 0], co: 5 },
    ];
    for (problem, seed) in problems.iter().zip(40..) {
        let random = &mut Random::new(seed);
        let (w, images, dy) = (problem.weights(random), problem.images(random), problem.upstream(random));
        for (i, image) in images.iter().enumerate() {
            let by_image = differentiate(image, &dy, |moved| {
                let mut images = images.clone();
                images[i] = moved.clone();
                conv2d::forward(&w, &images, None)
            });
            let mut case = problem.data_grad(seed);
            case.inputs = vec![w.clone(), dy.clone()];
            case.expected = conv2d::data_grad(&w, &dy, problem.channels);
            check(&case.judged_by(i, by_image));
        }
        let by_weights = differentiate(&w, &dy, |w| conv2d::forward(w, &images, None));
        let mut case = problem.weight_grad(seed);
        case.inputs = [dy].into_iter().chain(images).collect();
        check(&case.judged_by(0, by_weights));
    }
}

/// The checks are checked: a gradient that is zero, scaled, transposed or off by one element in a thousand must not pass.
#[test]
fn wrong_gradients_fail() {
    let problem = Problem { kernel: 3, image: [2, 6, 6], channels: [8, 0], co: 8 };
    let mut backend = cpu::open(1).unwrap();
    for (case, swapped) in [(problem.weight_grad(5), [0, 1, 3, 2]), (problem.data_grad(5), [0, 2, 1, 3])] {
        let right = run_case(&case, &mut *backend).unwrap();
        assert_eq!(case.judge(&right), Ok(()));
        let wrong = |f: &dyn Fn(&Array) -> Array| case.judge(&[f(&right[0])]).is_err();
        assert!(wrong(&|a| a.map(|_| 0.0)), "zero");
        assert!(wrong(&|a| a.map(|x| 3.0 * x)), "scaled");
        assert!(wrong(&|a| a.map(|x| 1.0001 * x)), "scaled by a little");
        assert!(wrong(&|a| Array::from_fn(a.shape, |index| a.at(swapped.map(|axis| index[axis])))), "transposed");
        assert!(wrong(&|a| Array { shape: a.shape, data: a.data.iter().rev().copied().collect() }), "reversed");
        let spoilt = |value: f64| {
            let mut a = right[0].clone();
            a.data[77] = value;
            case.judge(&[a]).is_err()
        };
        assert!(spoilt(f64::NAN) && spoilt(f64::INFINITY) && spoilt(right[0].data[77] + 0.01));
    }
}
