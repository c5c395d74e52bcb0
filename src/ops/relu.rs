//! Rectified linear unit. y = max(x, 0), NaN where x is; dx = dy where y > 0, else 0 (0 at the tie, as PyTorch).

use super::{Instruction, Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Input: x. Output: y of its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Relu {}

/// Inputs: dy, y of one shape. Output: dx of that shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ReluGrad {}

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [x] => Ok(vec![(*x, DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "one input")),
        }
    }

    fn may_be_half(&self, _operand: Operand, _half: DType) -> bool {
        true
    }

    fn adjoint(
        &self,
        tape: &mut Tape,
        node: &Node,
        upstream: &[Option<ValueId>],
        _wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None]) };
        Ok(vec![Some(tape.record_one(Instruction::ReluGrad(ReluGrad {}), &[dy, node.outputs[0]])?)])
    }
}

impl Op for ReluGrad {
    fn name(&self) -> &'static str {
        "relu_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [dy, y] if dy == y => Ok(vec![(*dy, DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "dy and y of one shape")),
        }
    }

    fn may_be_half(&self, _operand: Operand, _half: DType) -> bool {
        true
    }
}
