//! Adam (Kingma and Ba 2015, algorithm 1), one parameter tensor.
//!
//! ```text
//! m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
//! parameter <- parameter - lr (m c1) / (sqrt(v c2) + eps),    c1 = 1 / (1 - beta1^t),  c2 = 1 / (1 - beta2^t)
//! ```
//!
//! What changes from step to step is a value in memory: the schedule [lr, c1, c2, 1 / loss scale], written by the host; and, with
//! dynamic loss scaling, `overflow` ([`super::check_finite`]): where it is not 0, everything stays as it was.

use super::check_finite::is_flag;
use super::{Op, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Inputs: g (any shape; divided by the loss scale first), schedule [1, 1, 1, 4], and overflow [1, 1, 1, 1] where there is one.
/// Updates in place: parameter, m, v, each shaped like g.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
}

impl Op for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [g, schedule, overflow @ ..] if *schedule == Shape::channels(4) && is_flag(overflow) => Ok(vec![(*g, DType::F32); 3]),
            _ => Err(shape_error(self.name(), inputs, "a gradient, a schedule of four numbers, and a flag or none")),
        }
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        10 * inputs[0].len() as u64
    }
}
