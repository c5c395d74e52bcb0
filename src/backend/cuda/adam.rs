//! Not written yet.

use super::program::Lowering;
use crate::ops::adam::Adam;

pub(super) fn run(_op: &Adam, _lowering: &mut Lowering<'_>) {
    unimplemented!("adam::run")
}
