//! Max-pooling 2x2, stride 2. An odd last row or column is dropped, as in PyTorch.
//!
//! y[n, y, x, c] = max over r, s of x[n, 2y + r, 2x + s, c]; argmax = 2 r + s of the first largest (a NaN counts as largest).
//! dx[n, 2y + r, 2x + s, c] = dy[n, y, x, c] where argmax = 2 r + s, else 0; the gradient writes every element of dx.

use super::{Instruction, Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Input: x [N, H, W, C]. Outputs: y [N, H/2, W/2, C], argmax [N, H/2, W/2, C] (bytes 0 to 3).
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool2d {}

/// Inputs: dy [N, H/2, W/2, C], argmax of the same shape. Output: dx [N, H, W, C] with H x W = `size`.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool2dGrad {
    pub size: [usize; 2],
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [x] => {
                let y = Shape::image(x.n(), x.h() / 2, x.w() / 2, x.c());
                Ok(vec![(y, DType::F32), (y, DType::U8)])
            }
            _ => Err(shape_error(self.name(), inputs, "one image")),
        }
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        operand != Operand::Output(1)
    }

    fn adjoint(
        &self,
        tape: &mut Tape,
        node: &Node,
        upstream: &[Option<ValueId>],
        _wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None]) };
        let x = tape.shape(node.inputs[0]);
        let grad = Instruction::MaxPool2dGrad(MaxPool2dGrad { size: [x.h(), x.w()] });
        Ok(vec![Some(tape.record_one(grad, &[dy, node.outputs[1]])?)])
    }
}

impl Op for MaxPool2dGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let [h, w] = self.size;
        match inputs {
            [dy, argmax] if dy == argmax && dy.h() == h / 2 && dy.w() == w / 2 => {
                Ok(vec![(Shape::image(dy.n(), h, w, dy.c()), DType::F32)])
            }
            _ => Err(shape_error(self.name(), inputs, &format!("dy and argmax of half of {h} x {w}"))),
        }
    }

    fn input_type(&self, index: usize) -> DType {
        if index == 1 { DType::U8 } else { DType::F32 }
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        operand != Operand::Input(1)
    }
}
