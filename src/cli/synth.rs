//! `synth`: write a synthetic data set with ROI annotations.

use crate::dataset::synth::{self, CompositeKind, LayoutKind, SynthOptions};
use crate::error::Result;
use crate::terminal::say;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine synth --out litters
  unet-engine synth --out litters --series 3 --seed 7 --size 64 --composite stack
  unet-engine synth --out lab --layout lab";

/// Write a synthetic data set with ROI annotations.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Folder to write to; must be empty or not there yet.
    #[arg(long)]
    out: PathBuf,
    /// Number of series, each of 35 sub-images.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=999))]
    series: u32,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How annotations are laid out.
    #[arg(long, value_enum, default_value_t = LayoutKind::Series)]
    layout: LayoutKind,
    /// How the sub-images of a series are put together.
    #[arg(long, value_enum, default_value_t = CompositeKind::Grid)]
    composite: CompositeKind,
    /// Width and height of a sub-image in pixels.
    #[arg(long, default_value_t = 112)]
    size: usize,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let &Args { series, seed, layout, composite, size, .. } = args;
    let options = SynthOptions { out: args.out.clone(), n_series: series as usize, seed, layout, composite, size };
    synth::write(&options)?;
    say(&format!("wrote {series} series of 35 sub-images to {}", args.out.display()));
    Ok(())
}
