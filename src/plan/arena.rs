//! Placement: lifetimes, and a place in one arena for every value.

use super::{PersistentLayout, Plan, WorkspaceBytes};
use crate::error::Result;
use crate::tape::Tape;

pub(super) fn lay_out_persistent(_tapes: &[&Tape]) -> PersistentLayout {
    todo!()
}

pub(super) fn place(_tape: &Tape, _layout: &PersistentLayout, _workspace: WorkspaceBytes<'_>) -> Result<Plan> {
    todo!()
}
