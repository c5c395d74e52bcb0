//! Transposed convolution, kernel 2x2, stride 2: the way up. Every output pixel has exactly one source.
//!
//! ```text
//! y[n, 2y + r, 2x + s, co] = b[co] + sum over ci of  x[n, y, x, ci] w[r, s, ci, co]
//! dx[n, y, x, ci]  = sum over r, s, co of  dy[n, 2y + r, 2x + s, co] w[r, s, ci, co]
//! dw[r, s, ci, co] = sum over n, y, x of   x[n, y, x, ci] dy[n, 2y + r, 2x + s, co]
//! ```

use super::channel_sum::ChannelSum;
use super::{Instruction, Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Forward. Inputs: w [2, 2, Ci, Co], x [N, H, W, Ci], b [1, 1, 1, Co]. Output: y [N, 2H, 2W, Co].
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose2d {}

/// Gradient of the data. Inputs: w [2, 2, Ci, Co], dy [N, 2H, 2W, Co]. Output: dx [N, H, W, Ci].
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose2dDataGrad {}

/// Gradient of the weights. Inputs: dy [N, 2H, 2W, Co], x [N, H, W, Ci]. Output: dw [2, 2, Ci, Co].
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose2dWeightGrad {}

impl Op for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [w, x, b] if w.0[..3] == [2, 2, x.c()] && *b == Shape::channels(w.c()) => {
                Ok(vec![(Shape::image(x.n(), 2 * x.h(), 2 * x.w(), w.c()), DType::F32)])
            }
            _ => Err(shape_error(self.name(), inputs, "w [2, 2, Ci, Co], x of Ci channels, b of Co")),
        }
    }

    fn may_be_half(&self, operand: Operand, half: DType) -> bool {
        operand != Operand::Input(2) && (operand != Operand::Input(0) || half == DType::F16)
    }

    fn is_parameter(&self, input: usize) -> bool {
        input != 1
    }

    fn adjoint(
        &self,
        tape: &mut Tape,
        node: &Node,
        upstream: &[Option<ValueId>],
        wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None; 3]) };
        let (w, x) = (node.inputs[0], node.inputs[1]);
        let mut gradients = vec![None; 3];
        if wants[2] {
            gradients[2] = Some(tape.record_one(Instruction::ChannelSum(ChannelSum {}), &[dy])?);
        }
        if wants[0] {
            let grad = Instruction::ConvTranspose2dWeightGrad(ConvTranspose2dWeightGrad {});
            gradients[0] = Some(tape.record_one(grad, &[dy, x])?);
        }
        if wants[1] {
            let grad = Instruction::ConvTranspose2dDataGrad(ConvTranspose2dDataGrad {});
            gradients[1] = Some(tape.record_one(grad, &[w, dy])?);
        }
        Ok(gradients)
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        2 * inputs[0].len() as u64 * inputs[1].pixels() as u64
    }
}

impl Op for ConvTranspose2dDataGrad {
    fn name(&self) -> &'static str {
        "conv_transpose2d_data_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [w, dy] if w.0[..2] == [2, 2] && w.c() == dy.c() && dy.h() % 2 == 0 && dy.w() % 2 == 0 => {
                Ok(vec![(Shape::image(dy.n(), dy.h() / 2, dy.w() / 2, w.0[2]), DType::F32)])
            }
            _ => Err(shape_error(self.name(), inputs, "w [2, 2, Ci, Co], dy of Co channels and even size")),
        }
    }

    fn may_be_half(&self, operand: Operand, half: DType) -> bool {
        operand != Operand::Input(0) || half == DType::F16
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        2 * inputs[0].len() as u64 * outputs[0].pixels() as u64
    }
}

impl Op for ConvTranspose2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv_transpose2d_weight_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [dy, x] if dy.0[..3] == [x.n(), 2 * x.h(), 2 * x.w()] => Ok(vec![(Shape([2, 2, x.c(), dy.c()]), DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "dy of twice the size of x")),
        }
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(_))
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        2 * outputs[0].len() as u64 * inputs[1].pixels() as u64
    }
}
