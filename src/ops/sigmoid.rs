//! Logistic function, for inference: y = 1 / (1 + exp(-x)). In training it is part of the loss.

use super::{Op, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Input: x. Output: y of its shape, in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmoid {}

impl Op for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [x] => Ok(vec![(*x, DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "one input")),
        }
    }
}
