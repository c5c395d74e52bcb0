//! Not written yet.

use super::program::Lowering;
use crate::ops::batch_norm::{BatchNormApply, BatchNormGradApply, BatchNormGradReduce, BatchNormUpdate};

pub(super) fn statistics(_lowering: &mut Lowering<'_>) {
    unimplemented!("batch_norm::statistics")
}

pub(super) fn update(_op: &BatchNormUpdate, _lowering: &mut Lowering<'_>) {
    unimplemented!("batch_norm::update")
}

pub(super) fn apply(_op: &BatchNormApply, _lowering: &mut Lowering<'_>) {
    unimplemented!("batch_norm::apply")
}

pub(super) fn grad_reduce(_op: &BatchNormGradReduce, _lowering: &mut Lowering<'_>) {
    unimplemented!("batch_norm::grad_reduce")
}

pub(super) fn grad_apply(_op: &BatchNormGradApply, _lowering: &mut Lowering<'_>) {
    unimplemented!("batch_norm::grad_apply")
}
