//! `doctor`: say what this build and machine can do.

use crate::error::Result;

/// Say what this build and machine can do.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
