//! `bench roofline`: what the kernels can reach at most, counted.

use crate::error::Result;

/// What `bench roofline` takes besides.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &super::Args) -> Result<()> {
    unimplemented!()
}
