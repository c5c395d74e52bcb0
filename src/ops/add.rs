//! Element-wise sum of two images: the residual connection, and the sum of gradients of a value that is used twice.
//!
//! y = a + b; da = db = dy.

use super::{Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Inputs a, b of one shape; output y of that shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {}

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [a, b] if a == b => Ok(vec![(*a, DType::F32)]),
            _ => Err(shape_error("add", inputs, "two inputs of one shape")),
        }
    }

    fn may_be_half(&self, _operand: Operand, _half: DType) -> bool {
        true
    }

    fn adjoint(
        &self,
        _tape: &mut Tape,
        _node: &Node,
        upstream: &[Option<ValueId>],
        wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        Ok(wants.iter().map(|&want| upstream[0].filter(|_| want)).collect())
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        inputs[0].len() as u64
    }
}
