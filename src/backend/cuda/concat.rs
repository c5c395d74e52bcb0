//! Not written yet.

use super::program::Lowering;

pub(super) fn concat(_lowering: &mut Lowering<'_>) {
    unimplemented!("concat::concat")
}

pub(super) fn split(_lowering: &mut Lowering<'_>) {
    unimplemented!("concat::split")
}
