//! Whether a gradient can be used: the check behind dynamic loss scaling (Micikevicius et al. 2018, section 3.2).
//!
//! overflow <- 1 where g holds a NaN or an infinity, else as it was.
//!
//! The host writes 0 into `overflow` before each step; the checks of all gradients share it, and the updates read it ([`super::adam`],
//! [`super::batch_norm::BatchNormUpdate`]).

use super::{Op, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Input: g of any shape, f32. Updates in place: overflow [1, 1, 1, 1], f32.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckFinite {}

/// Whether these are an operation's last inputs where it heeds `overflow`: that, or nothing.
pub(super) fn is_flag(inputs: &[Shape]) -> bool {
    matches!(inputs, [] | [Shape([1, 1, 1, 1])])
}

impl Op for CheckFinite {
    fn name(&self) -> &'static str {
        "check_finite"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [_] => Ok(vec![(Shape::scalar(), DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "one gradient")),
        }
    }
}
