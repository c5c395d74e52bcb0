//! A convolution and the batch normalisation of its result with statistics that are given, in one pass over the result: inference. A
//! rewrite makes it ([`crate::plan::normalise_convolutions`]) for devices that have it.
//!
//! ```text
//! y = (conv2d(w, x) - mean) gamma / sqrt(var + eps) + beta,   then max(y, 0) if `relu`
//! ```

use super::conv2d::Conv2d;
use super::{Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Inputs: w [R, S, Ci, Co], x0, then x1 if `two_inputs`, as of [`Conv2d`]; mean, var, gamma, beta [1, 1, 1, Co]. Output: y [N, H, W, Co].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dNormalised {
    pub two_inputs: bool,
    pub eps: f32,
    pub relu: bool,
}

impl Conv2dNormalised {
    /// The convolution alone.
    pub fn convolution(&self) -> Conv2d {
        Conv2d { two_inputs: self.two_inputs, bias: false }
    }

    /// Weights and images.
    pub fn n_convolved(&self) -> usize {
        2 + usize::from(self.two_inputs)
    }
}

impl Op for Conv2dNormalised {
    fn name(&self) -> &'static str {
        "conv2d_normalised"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let n = self.n_convolved();
        let expected = "inputs of a convolution without bias, then mean, var, gamma, beta over its output channels";
        if inputs.len() != n + 4 {
            return Err(shape_error(self.name(), inputs, expected));
        }
        let outputs = self.convolution().infer(&inputs[..n])?;
        match inputs[n..].iter().all(|s| *s == Shape::channels(outputs[0].0.c())) {
            true => Ok(outputs),
            false => Err(shape_error(self.name(), inputs, expected)),
        }
    }

    fn may_be_half(&self, operand: Operand, half: DType) -> bool {
        match operand {
            Operand::Input(0) => half == DType::F16,
            Operand::Input(i) => i < self.n_convolved(),
            Operand::Output(_) => true,
        }
    }

    fn is_parameter(&self, input: usize) -> bool {
        !(1..self.n_convolved()).contains(&input)
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        self.convolution().flops(&inputs[..self.n_convolved()], outputs)
    }
}
