//! Convolution and its gradients. Kernels: `kernels/conv2d.cu`, `kernels/conv2d_weight_grad.cu`.

use super::implicit_gemm::Convolution;
use super::narrow;
use super::program::{Lowering, Value};
use super::weight_grad::{self, WeightGrad};
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use crate::tape::Shape;

/// For the gradient of the weights; `inputs` are dy and the images.
pub(super) fn weight_grad_workspace(inputs: &[Shape], dw: Shape) -> usize {
    let narrow = match inputs {
        [many, single] if single.c() == 1 => narrow::workspace(*many, dw),
        [single, many] if single.c() == 1 => narrow::workspace(*many, dw),
        _ => 0,
    };
    weight_grad::workspace(&inputs[1..], dw, 1).max(narrow)
}

fn pixels(image: Value) -> [usize; 3] {
    [image.shape.n(), image.shape.h(), image.shape.w()]
}

pub(super) fn forward(op: &Conv2d, lowering: &mut Lowering<'_>) {
    let w = lowering.input(0);
    let x: Vec<Value> = (1..2 + usize::from(op.two_inputs)).map(|i| lowering.input(i)).collect();
    let bias = op.bias.then(|| lowering.input(lowering.n_inputs() - 1));
    let y = [lowering.output(0)];
    match x[..] {
        [x] if narrow::fits(x, y[0]) => return narrow::spread(x, w, bias, y[0], lowering),
        [x] if w.shape.0[0] == 1 && narrow::fits(y[0], x) => return narrow::dot(x, w, bias, y[0], lowering),
        _ => {}
    }
    let kernel = if w.shape.0[0] == 3 { "conv2d_3x3" } else { "conv2d_1x1" };
    Convolution { module: "conv2d", kernel, w, x: &x, bias, y: &y, pixels: pixels(x[0]), scattered_taps: 1 }.push(lowering);
}

pub(super) fn data_grad(_op: &Conv2dDataGrad, lowering: &mut Lowering<'_>) {
    let (w, dy) = (lowering.input(0), lowering.input(1));
    let y: Vec<Value> = (0..lowering.n_outputs()).map(|i| lowering.output(i)).collect();
    if w.shape.0[0] == 1 && y.len() == 1 && narrow::fits(dy, y[0]) {
        return narrow::spread(dy, w, None, y[0], lowering);
    }
    let kernel = if w.shape.0[0] == 3 { "conv2d_data_grad_3x3" } else { "conv2d_data_grad_1x1" };
    Convolution { module: "conv2d", kernel, w, x: &[dy], bias: None, y: &y, pixels: pixels(dy), scattered_taps: 1 }
        .push(lowering);
}

pub(super) fn weight_grad(op: &Conv2dWeightGrad, lowering: &mut Lowering<'_>) {
    let (dy, dw) = (lowering.input(0), lowering.output(0));
    let x: Vec<Value> = (1..lowering.n_inputs()).map(|i| lowering.input(i)).collect();
    match x[..] {
        [x] if narrow::fits(x, dy) => return narrow::weight_grad(x, dy, dw, lowering),
        [x] if op.kernel == 1 && narrow::fits(dy, x) => return narrow::weight_grad(dy, x, dw, lowering),
        _ => {}
    }
    let (kernel, threads) = if op.kernel == 3 { ("conv2d_weight_grad_3x3", 288) } else { ("conv2d_weight_grad_1x1", 128) };
    WeightGrad { module: "conv2d_weight_grad", kernel, threads, dy, x: &x, dw, scattered_taps: 1 }.push(lowering);
}
