//! Sum over batch and pixels, a value per channel: the gradient of a bias.
//!
//! `y[c] = sum over n, y, x of x[n, y, x, c]`.

use super::{Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Input: x [N, H, W, C]. Output: y [1, 1, 1, C].
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSum {}

impl Op for ChannelSum {
    fn name(&self) -> &'static str {
        "channel_sum"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [x] => Ok(vec![(Shape::channels(x.c()), DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "one image")),
        }
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(_))
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        inputs[0].len() as u64
    }
}
