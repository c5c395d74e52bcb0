//! `export`: write a model's weights for other programs.

use super::print_line;
use crate::atomic_file;
use crate::checkpoint::{RunFiles, open_best, pytorch, weights_of};
use crate::error::{Error, Result};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Example:
  unet-engine export --model runs/heart --safetensors heart.safetensors

In Python: model.load_state_dict(safetensors.torch.load_file(\"heart.safetensors\")). `train --init` reads such files too.";

/// Write a model's weights under PyTorch's names and layouts.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Run directory of the model.
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    safetensors: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.safetensors.exists() {
        return Err(Error::usage("--safetensors exists already")
            .at(&args.safetensors)
            .remedy("give a new file, or remove this one"));
    }
    let checkpoint = open_best(&args.model)?;
    let network = checkpoint.description.network;
    let steps = checkpoint.state.get("step").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let weights = weights_of(&network, checkpoint.tensors, &RunFiles::new(&args.model).checkpoint("best"))?;
    atomic_file::write(&args.safetensors, &pytorch::export(&network, &weights, steps)?)?;
    print_line(&args.safetensors.display().to_string())
}
