//! `inspect`: say what a data folder holds and what looks wrong.

use crate::error::Result;

/// Say what a data folder holds and what looks wrong.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
