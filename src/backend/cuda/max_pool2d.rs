//! Not written yet.

use super::program::Lowering;

pub(super) fn forward(_lowering: &mut Lowering<'_>) {
    unimplemented!("max_pool2d::forward")
}

pub(super) fn grad(_lowering: &mut Lowering<'_>) {
    unimplemented!("max_pool2d::grad")
}
