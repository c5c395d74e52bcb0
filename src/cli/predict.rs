//! `predict`: rOI files, masks and overlays for new series.

use crate::error::Result;

/// ROI files, masks and overlays for new series.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
