//! Not written yet.

use super::program::Lowering;

pub(super) fn run(_lowering: &mut Lowering<'_>) {
    unimplemented!("cast::run")
}
