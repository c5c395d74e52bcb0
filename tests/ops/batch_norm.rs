//! Batch normalisation: statistics, running statistics, application with its tails, and its gradients.

use super::finite_differences::differentiate;
use super::harness::{Case, Random, check};
use crate::reference::{Array, batch_norm, elementwise};
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::batch_norm::{
    BatchNormApply, BatchNormGradApply, BatchNormGradReduce, BatchNormStatistics, BatchNormUpdate, Gate,
};

const EPSILON: f32 = 1e-5;

/// An image with its rounded statistics, as f32 instructions hand them on.
struct Data {
    x: Array,
    /// x before it was rounded to 16 bits.
    fine: Array,
    mean: Array,
    var: Array,
    gamma: Array,
    beta: Array,
    residual: Array,
    dy: Array,
    name: String,
}

/// `offset` shifts the image: sums of squares would lose the variance in it.
fn data(shape: [usize; 4], offset: f32, seed: u32) -> Data {
    let random = &mut Random::new(seed);
    let vector = [1, 1, 1, shape[3]];
    // Numbers that 16 bits hold as well: rounding them would move the gate of ReLU.
    let fine = random.array(shape, offset - 1.0, offset + 1.0);
    let x = fine.map(|x| half::bf16::from_f64(x).to_f64());
    let [mean, var] = batch_norm::statistics(&x).map(|a| a.map(|x| f64::from(x as f32)));
    let mut data = Data {
        mean,
        var,
        gamma: random.symmetric(vector),
        beta: random.symmetric(vector),
        residual: random.symmetric(shape),
        dy: random.symmetric(shape),
        name: format!("shape {shape:?}, offset {offset}, seed {seed}"),
        x,
        fine,
    };
    data.keep_away_from_the_gate();
    data
}

impl Data {
    fn m(&self) -> usize {
        self.x.data.len() / self.x.shape[3]
    }

    /// |x| + |mean| over the deviation: rounding errors of x scale with it, not with xhat.
    fn hat_magnitude(&self) -> Array {
        let magnitude = |x: f64, c: usize| (x.abs() + self.mean.data[c].abs()) / (self.var.data[c] + f64::from(EPSILON)).sqrt();
        batch_norm::per_channel(&self.x, magnitude)
    }

    fn statistics(&self) -> Case {
        let mean = elementwise::channel_sum(&self.fine.map(f64::abs)).map(|sum| sum / self.m() as f64);
        // A mean that is wrong by d changes the variance by d^2, d being a rounding error of the mean.
        let [_, var] = batch_norm::statistics(&self.fine);
        let var = var.zip(&mean, |var, mean| 2.0 * var + super::harness::EPS * mean * mean);
        let instruction = Instruction::BatchNormStatistics(BatchNormStatistics {});
        Case::new(self.name.clone(), instruction, vec![self.fine.clone()], vec![mean, var], self.m())
    }

    fn update(&self) -> Case {
        let random = &mut Random::new(self.m() as u32);
        let before = vec![random.symmetric(self.mean.shape), random.array(self.mean.shape, 0.0, 2.0)];
        let inputs = vec![self.mean.clone(), self.var.clone()];
        let bound = |a: &Array, b: &Array| a.zip(b, |a, b| 2.0 * (a.abs() + b.abs()));
        let magnitudes = vec![bound(&before[0], &inputs[0]), bound(&before[1], &inputs[1])];
        let instruction = Instruction::BatchNormUpdate(BatchNormUpdate { momentum: 0.1, count: self.m() });
        Case::in_place(self.name.clone(), instruction, inputs, before, magnitudes, 1)
    }

    /// Where `overflow` is raised, the running statistics stay as they were, whatever the batch's are.
    fn update_at_overflow(&self, raised: bool) -> Case {
        let mut case = self.update();
        case.inputs.push(Array::vector(vec![f64::from(u8::from(raised))]));
        if raised {
            case.inputs[1] = case.inputs[1].map(|_| f64::NAN);
            case.expected = case.before.clone();
            case.allowed = case.allowed.iter().map(|a| a.map(|_| 0.0)).collect();
        }
        case
    }

    fn apply(&self, residual: bool, relu: bool) -> Case {
        let mut inputs = [&self.x, &self.mean, &self.var, &self.gamma, &self.beta].map(Array::clone).to_vec();
        let scaled =
            batch_norm::per_channel(&self.hat_magnitude(), |h, c| h * self.gamma.data[c].abs() + self.beta.data[c].abs());
        let magnitude = scaled.zip(&self.residual, |h, r| 2.0 * (h + r.abs()));
        inputs.extend(residual.then(|| self.residual.clone()));
        let instruction = Instruction::BatchNormApply(BatchNormApply { eps: EPSILON, residual, relu });
        Case::new(self.name.clone(), instruction, inputs, vec![magnitude], 1)
    }

    /// What masks the gradient: any image, some of it zero.
    fn y(&self) -> Array {
        elementwise::relu(&self.residual)
    }

    /// gamma xhat + beta
    fn normalised(&self) -> Array {
        batch_norm::apply(&self.x, [&self.mean, &self.var, &self.gamma, &self.beta], None, f64::from(EPSILON), false)
    }

    /// Leaves no gradient where rounding would decide about the gate.
    fn keep_away_from_the_gate(&mut self) {
        let distance = self.normalised().zip(&self.hat_magnitude(), |z, h| z.abs() / (1.0 + h));
        self.dy = self.dy.zip(&distance, |dy, distance| if distance < 1e-4 { 0.0 } else { dy });
    }

    fn grad_reduce(&self, gate: Gate) -> Case {
        let mut inputs = [&self.dy, &self.x, &self.mean, &self.var].map(Array::clone).to_vec();
        inputs.extend(match gate {
            Gate::Open => vec![],
            Gate::Output => vec![self.y()],
            Gate::Normalised => vec![self.gamma.clone(), self.beta.clone()],
        });
        let products = self.hat_magnitude().zip(&self.dy, |h, d| h * d.abs());
        let magnitudes = vec![elementwise::channel_sum(&products), elementwise::channel_sum(&self.dy.map(f64::abs))];
        let instruction = Instruction::BatchNormGradReduce(BatchNormGradReduce { eps: EPSILON, gate });
        Case::new(self.name.clone(), instruction, inputs, magnitudes, self.m())
    }

    fn grad_apply(&self, residual: bool, gate: Gate) -> Case {
        let y = match gate {
            Gate::Open => None,
            Gate::Output => Some(self.y()),
            Gate::Normalised => Some(self.normalised()),
        };
        let reduced = batch_norm::grad_reduce(&self.dy, &self.x, &self.mean, &self.var, y.as_ref(), f64::from(EPSILON));
        let [dgamma, dbeta] = reduced.map(|a| a.map(|x| f64::from(x as f32)));
        let m = self.m() as f64;
        let along = batch_norm::per_channel(&self.hat_magnitude(), |h, c| (h * dgamma.data[c].abs() + dbeta.data[c].abs()) / m);
        let bracket = along.zip(&self.dy, |a, d| a + d.abs());
        let magnitude = batch_norm::per_channel(&bracket, |b, c| {
            2.0 * b * self.gamma.data[c].abs() / (self.var.data[c] + f64::from(EPSILON)).sqrt()
        });
        let mut inputs = [&self.dy, &self.x, &self.mean, &self.var, &self.gamma, &dgamma, &dbeta].map(Array::clone).to_vec();
        inputs.extend(if gate == Gate::Normalised { Some(self.beta.clone()) } else { y });
        let mut magnitudes = vec![magnitude];
        magnitudes.extend(residual.then(|| Array::zeros(self.x.shape)));
        let instruction = Instruction::BatchNormGradApply(BatchNormGradApply { eps: EPSILON, residual, gate });
        Case::new(self.name.clone(), instruction, inputs, magnitudes, 1)
    }

    fn check(&self) {
        check(&self.statistics());
        check(&self.update());
        [false, true].into_iter().for_each(|raised| check(&self.update_at_overflow(raised)));
        for (relu, residual) in [(false, false), (false, true), (true, false), (true, true)] {
            check(&self.apply(residual, relu));
        }
        for gate in [Gate::Open, Gate::Output, Gate::Normalised] {
            check(&self.grad_reduce(gate));
            [false, true].into_iter().for_each(|residual| check(&self.grad_apply(residual, gate)));
        }
    }
}

#[test]
fn hostile_shapes() {
    let shapes = [[2, 1, 1, 1], [3, 1, 1, 65], [1, 1, 2, 3], [1, 5, 7, 17], [3, 3, 3, 8], [1, 33, 31, 1], [2, 16, 16, 16]];
    for (seed, shape) in shapes.into_iter().enumerate() {
        for offset in [0.0, 10.0, -100.0] {
            data(shape, offset, seed as u32).check();
        }
    }
}

/// Images that a GPU cuts into many chunks of pixels and several groups of channels.
#[test]
fn many_chunks() {
    for (seed, shape) in [[2, 40, 48, 65], [1, 32, 33, 264], [1, 200, 201, 1]].into_iter().enumerate() {
        data(shape, 3.0, seed as u32).check();
    }
}

/// Constant channels have no variance: epsilon alone divides.
#[test]
fn constant_channels() {
    let mut d = data([2, 4, 4, 5], 0.0, 1);
    d.x = batch_norm::per_channel(&d.x, |_, c| c as f64 - 2.0);
    d.fine = d.x.clone();
    [d.mean, d.var] = batch_norm::statistics(&d.x);
    assert_eq!(d.var.data, [0.0; 5]);
    d.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(shape in [2..4usize, 1..10, 1..10, 1..70], offset in -5.0f32..5.0, seed: u32) {
        data(shape, offset, seed).check();
    }
}

/// The whole function, statistics included, with ReLU and a residual behind it.
#[test]
fn gradients_are_finite_differences() {
    for (shape, relu, seed) in
        [([2, 2, 3, 2], false, 1), ([3, 2, 2, 3], true, 2), ([2, 1, 1, 4], false, 3), ([1, 4, 4, 2], true, 4)]
    {
        let mut d = data(shape, 0.3, seed);
        let eps = f64::from(EPSILON);
        let forward = |x: &Array, gamma: &Array, beta: &Array, residual: &Array| {
            let [mean, var] = batch_norm::statistics(x);
            batch_norm::apply(x, [&mean, &var, gamma, beta], Some(residual), eps, relu)
        };
        keep_away_from_ties(&mut d, |d| {
            let [mean, var] = batch_norm::statistics(&d.x);
            batch_norm::apply(&d.x, [&mean, &var, &d.gamma, &d.beta], Some(&d.residual), eps, false)
        });
        let y = forward(&d.x, &d.gamma, &d.beta, &d.residual);
        let by_gamma = differentiate(&d.gamma, &d.dy, |gamma| forward(&d.x, gamma, &d.beta, &d.residual));
        let by_beta = differentiate(&d.beta, &d.dy, |beta| forward(&d.x, &d.gamma, beta, &d.residual));
        let by_x = differentiate(&d.x, &d.dy, |x| forward(x, &d.gamma, &d.beta, &d.residual));
        let by_residual = differentiate(&d.residual, &d.dy, |residual| forward(&d.x, &d.gamma, &d.beta, residual));
        let gate = Gate::of(true, relu);
        let (mut reduce, mut apply) = (d.grad_reduce(gate), d.grad_apply(true, gate));
        if relu {
            *reduce.inputs.last_mut().unwrap() = y.map(|y| f64::from(y as f32));
            *apply.inputs.last_mut().unwrap() = y.map(|y| f64::from(y as f32));
        }
        apply.inputs[5] = by_gamma.map(|x| f64::from(x as f32));
        apply.inputs[6] = by_beta.map(|x| f64::from(x as f32));
        check(&reduce.judged_by(0, by_gamma).judged_by(1, by_beta));
        check(&apply.judged_by(0, by_x).judged_by(1, by_residual));
    }
}

/// The same without residual, where the gradient tells from x alone what ReLU let through.
#[test]
fn gradients_behind_relu_alone_are_finite_differences() {
    let eps = f64::from(EPSILON);
    for (shape, seed) in [([2, 2, 3, 2], 1), ([3, 2, 2, 3], 2), ([1, 4, 4, 2], 3)] {
        let d = data(shape, 0.3, seed);
        let normalise = |x: &Array, gamma: &Array, beta: &Array, relu: bool| {
            let [mean, var] = batch_norm::statistics(x);
            batch_norm::apply(x, [&mean, &var, gamma, beta], None, eps, relu)
        };
        let z = normalise(&d.x, &d.gamma, &d.beta, false);
        assert!(z.data.iter().all(|z| z.abs() >= 1e-3) && z.data.iter().any(|z| *z < 0.0), "no ties, and some that ReLU stops");
        let by_gamma = differentiate(&d.gamma, &d.dy, |gamma| normalise(&d.x, gamma, &d.beta, true));
        let by_beta = differentiate(&d.beta, &d.dy, |beta| normalise(&d.x, &d.gamma, beta, true));
        let by_x = differentiate(&d.x, &d.dy, |x| normalise(x, &d.gamma, &d.beta, true));
        let mut apply = d.grad_apply(false, Gate::Normalised);
        apply.inputs[5] = by_gamma.map(|x| f64::from(x as f32));
        apply.inputs[6] = by_beta.map(|x| f64::from(x as f32));
        check(&d.grad_reduce(Gate::Normalised).judged_by(0, by_gamma).judged_by(1, by_beta));
        check(&apply.judged_by(0, by_x));
    }
}

/// Moves the residual where the sum before ReLU is nearer to 0 than a hundred steps of the differences.
fn keep_away_from_ties(d: &mut Data, before_relu: impl Fn(&Data) -> Array) {
    let z = before_relu(d);
    for (residual, z) in d.residual.data.iter_mut().zip(&z.data) {
        if z.abs() < 1e-3 {
            *residual += 0.25;
        }
    }
    assert!(before_relu(d).data.iter().all(|z| z.abs() >= 1e-3));
}
