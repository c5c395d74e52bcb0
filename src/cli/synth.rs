//! `synth`: write a synthetic data set with ROI annotations.

use crate::error::Result;

/// Write a synthetic data set with ROI annotations.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
