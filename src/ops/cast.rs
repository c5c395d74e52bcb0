//! A copy in another type of number: the border between what is stored as f16 or bf16 and what is stored as f32.
//!
//! y = x, rounded to the nearest number of the new type, of two equally near ones to that with an even last bit (IEEE 754,
//! roundTiesToEven). Beyond f16's largest number, from 65520 on, that is an infinity; below its smallest the result is
//! subnormal, or 0. bf16 has the range of f32. A NaN stays a NaN. From 16 bits to f32 nothing is rounded.

use super::{Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Input: x of any shape, f32, f16 or bf16. Output: y of that shape, of type `to`, one of these. No device casts between the types of 16
/// bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    pub to: DType,
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [x] if self.to != DType::U8 => Ok(vec![(*x, self.to)]),
            _ => Err(shape_error(self.name(), inputs, "one input, to be cast to f32, f16 or bf16")),
        }
    }

    /// The output has the type that it is cast to, whatever the input's is.
    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        operand == Operand::Input(0)
    }
}
