//! `demo`: the whole story on synthetic litters: train three models, evaluate, predict, write ROI files.

use crate::error::Result;

/// The whole story on synthetic litters: train three models, evaluate, predict, write ROI files.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<()> {
    todo!()
}
