//! `train`: train a model of one organ.

use super::{interrupt, left_out_error, print_line};
use crate::error::Result;
use crate::train::config::Options;
use crate::train::{Request, run as train};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine train --data litters --organ heart --out runs/heart
  unet-engine train --data litters --organ liver --preset quick --preview liver.png --out runs/liver-trial
  unet-engine train --resume --out runs/heart

The run directory is the model: give it to `evaluate --model` and `predict --model`. Its config.toml holds every setting and
can be given to --config again. Ctrl-C saves; --resume goes on as if nothing had happened.";

/// Train a model of one organ.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// Read options from this TOML file; the command line goes first.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Run directory to write [default: runs/<organ>-<arch>-<time>].
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on with the run in --out.
    #[arg(long)]
    resume: bool,
    /// First write a sheet of augmented samples with their outlines, as the network sees them; not with --resume.
    #[arg(long, value_name = "PNG")]
    preview: Option<PathBuf>,
    /// Exit with 0 even if some pictures or annotations could not be read and were left out.
    #[arg(long)]
    keep_going: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let options = match &args.config {
        Some(path) => args.options.over_file(path)?,
        None => args.options.clone(),
    };
    let request = Request { options, out: args.out.clone(), resume: args.resume, preview: args.preview.clone() };
    interrupt::watch();
    let outcome = train(&request, &interrupt::requested)?;
    print_line(&outcome.run.display().to_string())?;
    if args.keep_going { Ok(()) } else { left_out_error(&outcome.left_out) }
}
