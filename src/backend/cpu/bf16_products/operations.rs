//! The operations that multiply matrices, as convolutions of views and gradients of weights.

use super::convolution::Convolution;
use super::cut;
use super::panel::{View, Views};
use super::product::SIDE;
use super::target::Target;
use super::weight_grad::WeightGrad;
use super::weight_grad_cut::{self, Side, WeightGradCut};
use super::weights::{Order, Weights};
use crate::backend::cpu::Settings;
use crate::backend::cpu::arena::Operands;
use crate::backend::cpu::batch_norm;
use crate::ops::Instruction;
use crate::ops::conv2d::Conv2d;
use crate::ops::conv2d_normalised::Conv2dNormalised;
use crate::plan::{Request, Scratch};
use crate::tape::Shape;

/// Bytes of a factor and a number to add for a channel.
const NUMBERS: usize = 2 * size_of::<f32>();

/// Images, rows, columns.
fn size(shape: Shape) -> [usize; 3] {
    [shape.n(), shape.h(), shape.w()]
}

/// What an operation takes.
pub fn scratch(settings: Settings, &Request { instruction, inputs, lasts, .. }: &Request<'_>) -> Scratch {
    let threads = settings.threads;
    let [w, x] = [inputs[0], inputs[1]];
    let [kernel, _, ci, co] = w.0;
    match instruction {
        Instruction::Conv2d(_) => cut::scratch(threads, kernel, ci, size(x), &[co], lasts),
        Instruction::Conv2dNormalised(_) => {
            let Scratch { workspace, prepared } = cut::scratch(threads, kernel, ci, size(x), &[co], lasts);
            Scratch { workspace: workspace + NUMBERS * co.next_multiple_of(SIDE), prepared }
        }
        Instruction::Conv2dDataGrad(op) => cut::scratch(threads, kernel, co, size(x), &op.channels, false),
        Instruction::ConvTranspose2d(_) => cut::scratch(threads, 1, ci, size(x), &[co; 4], lasts),
        Instruction::ConvTranspose2dDataGrad(_) => cut::scratch(threads, 1, 4 * co, [x.n(), x.h() / 2, x.w() / 2], &[ci], false),
        Instruction::Conv2dWeightGrad(op) => {
            let sides = [&inputs[1..], &inputs[..1]].map(|images| Side::new(images.iter().map(Shape::c)));
            Scratch::workspace(weight_grad_cut::workspace(threads, WeightGradCut::new(op.kernel, sides, size(x))))
        }
        Instruction::ConvTranspose2dWeightGrad(_) => {
            let sides = [Side::new([x.c()].into_iter()), Side::new([inputs[0].c(); 4].into_iter())];
            Scratch::workspace(weight_grad_cut::workspace(threads, WeightGradCut::new(1, sides, size(x))))
        }
        other => unreachable!("{} multiplies no matrices", other.name()),
    }
}

/// Runs an operation.
pub fn run(settings: Settings, instruction: &Instruction, operands: &mut Operands) {
    match instruction {
        Instruction::Conv2d(op) => conv2d(settings, op, operands),
        Instruction::Conv2dNormalised(op) => conv2d_normalised(settings, op, operands),
        Instruction::Conv2dDataGrad(_) => conv2d_data_grad(settings, operands),
        Instruction::Conv2dWeightGrad(op) => conv2d_weight_grad(settings, op.kernel, operands),
        Instruction::ConvTranspose2d(_) => conv_transpose2d(settings, operands),
        Instruction::ConvTranspose2dDataGrad(_) => conv_transpose2d_data_grad(settings, operands),
        Instruction::ConvTranspose2dWeightGrad(_) => conv_transpose2d_weight_grad(settings, operands),
        other => unreachable!("{} multiplies no matrices", other.name()),
    }
}

/// Input `index` seen whole.
fn whole<'a>(operands: &Operands<'a>, index: usize) -> View<'a> {
    View::whole(operands.input_as(index), operands.input_shape(index))
}

/// The quarters of input `index`, over the pixels of an image half as wide.
fn quarters<'a>(operands: &Operands<'a>, index: usize) -> Views<'a> {
    let shape = operands.input_shape(index);
    let views = (0..4).map(|tap| View::quarter(operands.input_as(index), shape, tap));
    Views::new(views, [shape.n(), shape.h() / 2, shape.w() / 2])
}

/// Input 0 as weights.
fn weights<'a>(operands: &Operands<'a>, order: Order) -> Weights<'a> {
    let [_, _, ci, co] = operands.input_shape(0).0;
    Weights { data: operands.input(0), ci, co, order }
}

fn conv2d(settings: Settings, op: &Conv2d, operands: &mut Operands) {
    let (kernel, n_images) = (operands.input_shape(0).0[0], 1 + usize::from(op.two_inputs));
    let views = Views::new((1..=n_images).map(|i| whole(operands, i)), size(operands.input_shape(1)));
    let bias = op.bias.then(|| operands.input(operands.n_inputs() - 1));
    let (weights, shape) = (weights(operands, Order::Forward), operands.output_shape(0));
    let targets = &[Target::whole(operands.output_as(0), shape)];
    let level = settings.level;
    Convolution { level, kernel, views, weights, targets, tap_each: false, scale: None, bias, relu: false }
        .run(operands.prepared(), operands.workspace());
}

fn conv2d_normalised(settings: Settings, op: &Conv2dNormalised, operands: &mut Operands) {
    let (kernel, n) = (operands.input_shape(0).0[0], op.n_convolved());
    let views = Views::new((1..n).map(|i| whole(operands, i)), size(operands.input_shape(1)));
    let (weights, shape) = (weights(operands, Order::Forward), operands.output_shape(0));
    let room = shape.c().next_multiple_of(SIDE);
    let (numbers, workspace) = operands.workspace::<f32>().split_at_mut(2 * room);
    let (scale, shift) = numbers.split_at_mut(room);
    batch_norm::scale_and_shift([0, 1, 2, 3].map(|i| operands.input(n + i)), op.eps, scale, shift);
    let (scale, bias) = (Some(&scale[..shape.c()]), Some(&shift[..shape.c()]));
    let targets = &[Target::whole(operands.output_as(0), shape)];
    let (level, relu) = (settings.level, op.relu);
    let convolution = Convolution { level, kernel, views, weights, targets, tap_each: false, scale, bias, relu };
    convolution.run(operands.prepared(), bytemuck::cast_slice_mut(workspace));
}

fn conv2d_data_grad(settings: Settings, operands: &mut Operands) {
    let kernel = operands.input_shape(0).0[0];
    let views = Views::new([whole(operands, 1)], size(operands.input_shape(1)));
    let weights = weights(operands, Order::Flipped);
    let mut targets = [Target::none(); 2];
    let n_targets = operands.n_outputs();
    for (i, target) in targets[..n_targets].iter_mut().enumerate() {
        let shape = operands.output_shape(i);
        *target = Target::whole(operands.output_as(i), shape);
    }
    let (level, targets) = (settings.level, &targets[..n_targets]);
    Convolution { level, kernel, views, weights, targets, tap_each: false, scale: None, bias: None, relu: false }
        .run(operands.prepared(), operands.workspace());
}

fn conv_transpose2d(settings: Settings, operands: &mut Operands) {
    let views = Views::new([whole(operands, 1)], size(operands.input_shape(1)));
    let (weights, bias) = (weights(operands, Order::Forward), Some(operands.input(2)));
    let shape = operands.output_shape(0);
    let all = Target::whole(operands.output_as(0), shape);
    let targets = &[0, 1, 2, 3].map(|tap| all.quarter(tap));
    let level = settings.level;
    Convolution { level, kernel: 1, views, weights, targets, tap_each: true, scale: None, bias, relu: false }
        .run(operands.prepared(), operands.workspace());
}

fn conv_transpose2d_data_grad(settings: Settings, operands: &mut Operands) {
    let (views, weights) = (quarters(operands, 1), weights(operands, Order::Transposed));
    let shape = operands.output_shape(0);
    let targets = &[Target::whole(operands.output_as(0), shape)];
    let level = settings.level;
    Convolution { level, kernel: 1, views, weights, targets, tap_each: false, scale: None, bias: None, relu: false }
        .run(operands.prepared(), operands.workspace());
}

fn conv2d_weight_grad(settings: Settings, kernel: usize, operands: &mut Operands) {
    let size = size(operands.input_shape(0));
    let x = Views::new((1..operands.n_inputs()).map(|i| whole(operands, i)), size);
    let dy = Views::new([whole(operands, 0)], size);
    let (level, co) = (settings.level, operands.input_shape(0).c());
    WeightGrad { level, kernel, x, dy, co }.run(operands.output(0), operands.workspace());
}

fn conv_transpose2d_weight_grad(settings: Settings, operands: &mut Operands) {
    let x = Views::new([whole(operands, 1)], size(operands.input_shape(1)));
    let (level, dy, co) = (settings.level, quarters(operands, 0), operands.input_shape(0).c());
    WeightGrad { level, kernel: 1, x, dy, co }.run(operands.output(0), operands.workspace());
}
