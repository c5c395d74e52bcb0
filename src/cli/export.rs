//! `export`: write a model's weights under PyTorch's names.

use crate::error::Result;

/// Write a model's weights under PyTorch's names.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
