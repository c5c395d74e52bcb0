//! Concatenation over channels, and its adjoint, the split. The plan folds a concatenation into the convolution that reads it, so
//! that neither usually costs a copy.

use super::{Instruction, Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Inputs: a [N, H, W, C0], b [N, H, W, C1]. Output: y [N, H, W, C0 + C1], a's channels first.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {}

/// Input: y `[N, H, W, channels[0] + channels[1]]`. Outputs: a `[N, H, W, channels[0]]`, b `[N, H, W, channels[1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub channels: [usize; 2],
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [a, b] if a.with_channels(1) == b.with_channels(1) => Ok(vec![(a.with_channels(a.c() + b.c()), DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "two images of one size")),
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
        wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None; 2]) };
        let channels = [tape.shape(node.inputs[0]).c(), tape.shape(node.inputs[1]).c()];
        let parts = tape.record(Instruction::Split(Split { channels }), &[dy])?;
        Ok(parts.into_iter().zip(wants).map(|(part, &want)| want.then_some(part)).collect())
    }
}

impl Op for Split {
    fn name(&self) -> &'static str {
        "split"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [y] if y.c() == self.channels[0] + self.channels[1] => {
                Ok(self.channels.iter().map(|&c| (y.with_channels(c), DType::F32)).collect())
            }
            _ => Err(shape_error(self.name(), inputs, &format!("one image of {:?} channels", self.channels))),
        }
    }

    fn may_be_half(&self, _operand: Operand, _half: DType) -> bool {
        true
    }
}
