//! Not written yet.

use super::program::Lowering;
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};

pub(super) fn forward(_op: &Conv2d, _lowering: &mut Lowering<'_>) {
    unimplemented!("conv2d::forward")
}

pub(super) fn data_grad(_op: &Conv2dDataGrad, _lowering: &mut Lowering<'_>) {
    unimplemented!("conv2d::data_grad")
}

pub(super) fn weight_grad(_op: &Conv2dWeightGrad, _lowering: &mut Lowering<'_>) {
    unimplemented!("conv2d::weight_grad")
}
