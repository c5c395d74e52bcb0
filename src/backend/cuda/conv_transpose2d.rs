//! Transposed convolution and its gradients. Kernels: `kernels/conv_transpose2d.cu`.

use super::implicit_gemm::Convolution;
use super::program::Lowering;
use super::weight_grad::{self, WeightGrad};
use crate::tape::Shape;

const MODULE: &str = "conv_transpose2d";
const TAPS: usize = 4;

/// For the gradient of the weights; `inputs` are dy and x.
pub(super) fn weight_grad_workspace(inputs: &[Shape], dw: Shape) -> usize {
    weight_grad::workspace(&inputs[1..], dw, TAPS)
}

pub(super) fn forward(lowering: &mut Lowering<'_>) {
    let [w, x, bias] = [0, 1, 2].map(|i| lowering.input(i));
    let y = [lowering.output(0)];
    let pixels = [x.shape.n(), x.shape.h(), x.shape.w()];
    let (kernel, bias) = ("conv_transpose2d", Some(bias));
    Convolution { module: MODULE, kernel, w, x: &[x], bias, y: &y, pixels, scattered_taps: TAPS }.push(lowering);
}

pub(super) fn data_grad(lowering: &mut Lowering<'_>) {
    let (w, dy, dx) = (lowering.input(0), lowering.input(1), lowering.output(0));
    let pixels = [dx.shape.n(), dx.shape.h(), dx.shape.w()];
    let kernel = "conv_transpose2d_data_grad";
    Convolution { module: MODULE, kernel, w, x: &[dy], bias: None, y: &[dx], pixels, scattered_taps: 1 }.push(lowering);
}

pub(super) fn weight_grad(lowering: &mut Lowering<'_>) {
    let (dy, x, dw) = (lowering.input(0), lowering.input(1), lowering.output(0));
    let kernel = "conv_transpose2d_weight_grad";
    WeightGrad { module: MODULE, kernel, threads: 128, dy, x: &[x], dw, scattered_taps: TAPS }.push(lowering);
}
