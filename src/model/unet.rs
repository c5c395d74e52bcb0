//! The three U-Nets, recorded.

use super::{NetworkSpec, Parameter};
use crate::error::Result;
use crate::ops::dice_bce::LossParameters;
use crate::tape::Tape;

pub(super) fn parameters(_spec: &NetworkSpec) -> Vec<Parameter> {
    todo!()
}

pub(super) fn record_training(_spec: &NetworkSpec, _batch: usize, _size: [usize; 2], _loss: LossParameters) -> Result<Tape> {
    todo!()
}

pub(super) fn record_validation(_spec: &NetworkSpec, _batch: usize, _size: [usize; 2], _loss: LossParameters) -> Result<Tape> {
    todo!()
}

pub(super) fn record_inference(_spec: &NetworkSpec, _batch: usize, _size: [usize; 2]) -> Result<Tape> {
    todo!()
}
