//! `evaluate`: dice, precision, recall and IoU of models on annotated series.

use crate::error::Result;

/// Dice, precision, recall and IoU of models on annotated series.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
