//! `roi`: read ImageJ ROI files.

use crate::error::Result;

/// Read ImageJ ROI files.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
