//! `train`: train a model of one organ.

use crate::error::Result;

/// Train a model of one organ.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
