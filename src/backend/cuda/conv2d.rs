//! Convolution and its gradients. Kernels: `kernels/conv2d.cu`, `kernels/conv2d_weight_grad.cu`.

use super::implicit_gemm::Convolution;
use super::program::{Lowering, Value};
use super::weight_grad::{self, WeightGrad};
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use crate::tape::Shape;

/// For the gradient of the weights; `inputs` are dy and the images.
pub(super) fn weight_grad_workspace(inputs: &[Shape], dw: Shape) -> usize {
    weight_grad::workspace(&inputs[1..], dw, 1)
}

fn pixels(image: Value) -> [usize; 3] {
    [image.shape.n(), image.shape.h(), image.shape.w()]
}

pub(super) fn forward(op: &Conv2d, lowering: &mut Lowering<'_>) {
    let w = lowering.input(0);
    let x: Vec<Value> = (1..2 + usize::from(op.two_inputs)).map(|i| lowering.input(i)).collect();
    let bias = op.bias.then(|| lowering.input(lowering.n_inputs() - 1));
    let y = [lowering.output(0)];
    let kernel = if w.shape.0[0] == 3 { "conv2d_3x3" } else { "conv2d_1x1" };
    Convolution { module: "conv2d", kernel, w, x: &x, bias, y: &y, pixels: pixels(x[0]), scattered_taps: 1 }.push(lowering);
}

pub(super) fn data_grad(_op: &Conv2dDataGrad, lowering: &mut Lowering<'_>) {
    let (w, dy) = (lowering.input(0), lowering.input(1));
    let y: Vec<Value> = (0..lowering.n_outputs()).map(|i| lowering.output(i)).collect();
    let kernel = if w.shape.0[0] == 3 { "conv2d_data_grad_3x3" } else { "conv2d_data_grad_1x1" };
    Convolution { module: "conv2d", kernel, w, x: &[dy], bias: None, y: &y, pixels: pixels(dy), scattered_taps: 1 }
        .push(lowering);
}

pub(super) fn weight_grad(op: &Conv2dWeightGrad, lowering: &mut Lowering<'_>) {
    let (dy, dw) = (lowering.input(0), lowering.output(0));
    let x: Vec<Value> = (1..lowering.n_inputs()).map(|i| lowering.input(i)).collect();
    let (kernel, threads) = if op.kernel == 3 { ("conv2d_weight_grad_3x3", 288) } else { ("conv2d_weight_grad_1x1", 128) };
    WeightGrad { module: "conv2d_weight_grad", kernel, threads, dy, x: &x, dw, scattered_taps: 1 }.push(lowering);
}
