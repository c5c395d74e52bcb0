//! `bench`: measure this machine's throughput.

use crate::error::Result;

/// Measure this machine's throughput.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
