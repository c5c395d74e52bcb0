//! Not written yet.

use super::program::Lowering;
use crate::ops::assign::Assign;

pub(super) fn run(_op: &Assign, _lowering: &mut Lowering<'_>) {
    unimplemented!("assign::run")
}
