//! Batch normalisation. Kernels: `kernels/batch_norm.cu`, and `kernels/batch_norm_grad.cu` for the gradients.

use super::columns::{Cut, Sums, THREADS};
use super::driver::Address;
use super::program::{Lowering, kernel_for};
use crate::ops::batch_norm::{BatchNormApply, BatchNormGradApply, BatchNormGradReduce, BatchNormUpdate, Gate};
use bytemuck::NoUninit;

/// For an operand that is not there.
const NULL: Address = 0;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct StatisticsParameters {
    x: u64,
    partials: u64,
    cut: Cut,
}

const _: () = assert!(size_of::<StatisticsParameters>() == 40);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct StatisticsCombineParameters {
    x: u64,
    partials: u64,
    mean: u64,
    var: u64,
    cut: Cut,
}

const _: () = assert!(size_of::<StatisticsCombineParameters>() == 56);

pub(super) fn statistics(lowering: &mut Lowering<'_>) {
    let x = lowering.input(0);
    let [mean, var] = [0, 1].map(|i| lowering.output(i));
    let Sums { cut, partials, grid, combining_grid } = Sums::new(lowering, x, 2);
    let mut call = lowering.call("batch_norm", kernel_for("batch_norm_statistics", x.dtype));
    let parameters = StatisticsParameters { x: call.read(x), partials: call.write(partials), cut };
    lowering.push(call, grid, THREADS, &parameters);

    let mut call = lowering.call("batch_norm", kernel_for("batch_norm_statistics_combine", x.dtype));
    let parameters = StatisticsCombineParameters {
        x: call.read(x),
        partials: call.read(partials),
        mean: call.write(mean),
        var: call.write(var),
        cut,
    };
    lowering.push(call, combining_grid, THREADS, &parameters);
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct UpdateParameters {
    mean: u64,
    var: u64,
    overflow: u64,
    running_mean: u64,
    running_var: u64,
    channels: i32,
    momentum: f32,
    var_momentum: f32,
    padding: i32,
}

const _: () = assert!(size_of::<UpdateParameters>() == 56);

pub(super) fn update(op: &BatchNormUpdate, lowering: &mut Lowering<'_>) {
    let [mean, var] = [0, 1].map(|i| lowering.input(i));
    let overflow = (lowering.n_inputs() > 2).then(|| lowering.input(2));
    let [running_mean, running_var] = [0, 1].map(|i| lowering.output(i));
    let channels = mean.shape.c();
    let mut call = lowering.call("batch_norm", "batch_norm_update");
    let parameters = UpdateParameters {
        mean: call.read(mean),
        var: call.read(var),
        overflow: overflow.map_or(NULL, |overflow| call.read(overflow)),
        running_mean: call.update(running_mean),
        running_var: call.update(running_var),
        channels: i32::try_from(channels).expect("channels count less than 2^31"),
        momentum: op.momentum,
        var_momentum: op.momentum * (op.count as f32 / (op.count - 1) as f32),
        padding: 0,
    };
    lowering.push(call, [channels.div_ceil(THREADS as usize), 1, 1], THREADS, &parameters);
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ApplyParameters {
    x: u64,
    mean: u64,
    var: u64,
    gamma: u64,
    beta: u64,
    residual: u64,
    y: u64,
    cut: Cut,
    eps: f32,
    relu: i32,
}

const _: () = assert!(size_of::<ApplyParameters>() == 88);

pub(super) fn apply(op: &BatchNormApply, lowering: &mut Lowering<'_>) {
    let [x, mean, var, gamma, beta] = [0, 1, 2, 3, 4].map(|i| lowering.input(i));
    let residual = op.residual.then(|| lowering.input(5));
    let y = lowering.output(0);
    let (cut, grid) = Cut::for_loops(x);
    let mut call = lowering.call("batch_norm", kernel_for("batch_norm_apply", x.dtype));
    let parameters = ApplyParameters {
        x: call.read(x),
        mean: call.read(mean),
        var: call.read(var),
        gamma: call.read(gamma),
        beta: call.read(beta),
        residual: residual.map_or(NULL, |residual| call.read(residual)),
        y: call.write(y),
        cut,
        eps: op.eps,
        relu: i32::from(op.relu),
    };
    lowering.push(call, grid, THREADS, &parameters);
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct GradReduceParameters {
    dy: u64,
    x: u64,
    mean: u64,
    y: u64,
    var: u64,
    gamma: u64,
    beta: u64,
    partials: u64,
    cut: Cut,
    eps: f32,
    padding: i32,
}

const _: () = assert!(size_of::<GradReduceParameters>() == 96);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct GradReduceCombineParameters {
    partials: u64,
    var: u64,
    dgamma: u64,
    dbeta: u64,
    cut: Cut,
    eps: f32,
    padding: i32,
}

const _: () = assert!(size_of::<GradReduceCombineParameters>() == 64);

pub(super) fn grad_reduce(op: &BatchNormGradReduce, lowering: &mut Lowering<'_>) {
    let [dy, x, mean, var] = [0, 1, 2, 3].map(|i| lowering.input(i));
    let y = (op.gate == Gate::Output).then(|| lowering.input(4));
    let gamma_and_beta = (op.gate == Gate::Normalised).then(|| [4, 5].map(|i| lowering.input(i)));
    let [dgamma, dbeta] = [0, 1].map(|i| lowering.output(i));
    let Sums { cut, partials, grid, combining_grid } = Sums::new(lowering, x, 2);
    let mut call = lowering.call("batch_norm_grad", kernel_for("batch_norm_grad_reduce", x.dtype));
    let parameters = GradReduceParameters {
        dy: call.read(dy),
        x: call.read(x),
        mean: call.read(mean),
        y: y.map_or(NULL, |y| call.read(y)),
        var: call.read(var),
        gamma: gamma_and_beta.map_or(NULL, |[gamma, _]| call.read(gamma)),
        beta: gamma_and_beta.map_or(NULL, |[_, beta]| call.read(beta)),
        partials: call.write(partials),
        cut,
        eps: op.eps,
        padding: 0,
    };
    lowering.push(call, grid, THREADS, &parameters);

    let mut call = lowering.call("batch_norm_grad", "batch_norm_grad_reduce_combine");
    let parameters = GradReduceCombineParameters {
        partials: call.read(partials),
        var: call.read(var),
        dgamma: call.write(dgamma),
        dbeta: call.write(dbeta),
        cut,
        eps: op.eps,
        padding: 0,
    };
    lowering.push(call, combining_grid, THREADS, &parameters);
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct GradApplyParameters {
    dy: u64,
    x: u64,
    mean: u64,
    var: u64,
    gamma: u64,
    dgamma: u64,
    dbeta: u64,
    y: u64,
    beta: u64,
    dx: u64,
    dresidual: u64,
    cut: Cut,
    eps: f32,
    count: f32,
}

const _: () = assert!(size_of::<GradApplyParameters>() == 120);

pub(super) fn grad_apply(op: &BatchNormGradApply, lowering: &mut Lowering<'_>) {
    let [dy, x, mean, var, gamma, dgamma, dbeta] = [0, 1, 2, 3, 4, 5, 6].map(|i| lowering.input(i));
    let y = (op.gate == Gate::Output).then(|| lowering.input(7));
    let beta = (op.gate == Gate::Normalised).then(|| lowering.input(7));
    let dx = lowering.output(0);
    let dresidual = op.residual.then(|| lowering.output(1));
    let (cut, grid) = Cut::for_loops(x);
    let mut call = lowering.call("batch_norm_grad", kernel_for("batch_norm_grad_apply", x.dtype));
    let parameters = GradApplyParameters {
        dy: call.read(dy),
        x: call.read(x),
        mean: call.read(mean),
        var: call.read(var),
        gamma: call.read(gamma),
        dgamma: call.read(dgamma),
        dbeta: call.read(dbeta),
        y: y.map_or(NULL, |y| call.read(y)),
        beta: beta.map_or(NULL, |beta| call.read(beta)),
        dx: call.write(dx),
        dresidual: dresidual.map_or(NULL, |dresidual| call.write(dresidual)),
        cut,
        eps: op.eps,
        count: x.shape.pixels() as f32,
    };
    lowering.push(call, grid, THREADS, &parameters);
}
