//! Not written yet.

use super::program::Lowering;
use crate::ops::dice_bce::{DiceBce, DiceBceGrad};

pub(super) fn forward(_op: &DiceBce, _lowering: &mut Lowering<'_>) {
    unimplemented!("dice_bce::forward")
}

pub(super) fn grad(_op: &DiceBceGrad, _lowering: &mut Lowering<'_>) {
    unimplemented!("dice_bce::grad")
}
