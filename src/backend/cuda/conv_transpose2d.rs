//! Not written yet.

use super::program::Lowering;

pub(super) fn forward(_lowering: &mut Lowering<'_>) {
    unimplemented!("conv_transpose2d::forward")
}

pub(super) fn data_grad(_lowering: &mut Lowering<'_>) {
    unimplemented!("conv_transpose2d::data_grad")
}

pub(super) fn weight_grad(_lowering: &mut Lowering<'_>) {
    unimplemented!("conv_transpose2d::weight_grad")
}
