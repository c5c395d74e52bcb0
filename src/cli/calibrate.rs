//! `calibrate`: an operating point for models that are used together, with flips, or on other data.

use super::predict::bar;
use super::{left_out_error, print_json, print_line};
use crate::error::Result;
use crate::predict::joint::{Outcome, Request, run as calibrate};
use crate::terminal::{say, say_warnings};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine calibrate --model runs/heart-a --model runs/heart-b --data litters --out heart.json
  unet-engine calibrate --model runs/heart --flips --data litters --out heart.json
  unet-engine calibrate --model runs/heart --data litters-of-the-new-scanner --min-precision 0.95 --out heart.json
  unet-engine predict --model runs/heart --calibration heart.json litter-12.tif --out predictions

A training chooses a threshold for its model alone. Several models of an organ, or one with --flips, are averaged and need
another; so may pictures of another scanner, or a lab that wants another precision. On the data that the first model was
trained with, its validation series are used, on other data all series; a picture that a model was trained on is refused,
and later `evaluate --calibration` refuses the pictures that were used here.";

/// Choose threshold and smallest object for models that are used together, with flips, or on other data.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Run directory of a trained model; several of one organ form an ensemble.
    #[arg(long = "model", value_name = "RUN", required = true)]
    models: Vec<PathBuf>,
    /// Annotated series.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// File to write, for `predict --calibration` and `evaluate --calibration`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Average over the mirror images of each sub-image too.
    #[arg(long)]
    flips: bool,
    /// Precision to keep, for pixels and for objects, on these series.
    #[arg(long, value_name = "P", value_parser = share)]
    min_precision: Option<f64>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the CPU [default: as many as cores].
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Exit with 0 even if some pictures or annotations could not be read and were left out.
    #[arg(long)]
    keep_going: bool,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let request = Request {
        models: args.models.clone(),
        data: args.data.clone(),
        flips: args.flips,
        min_precision: args.min_precision,
        out: args.out.clone(),
        device: args.device.clone(),
        threads: args.threads,
    };
    let mut progress = None;
    let Outcome { joint, left_out, warnings } = calibrate(&request, |done, of| {
        progress.get_or_insert_with(|| bar(of, "sub-images")).set_position(done as u64);
    })?;
    progress.inspect(indicatif::ProgressBar::finish_and_clear);
    say_warnings(&warnings);
    joint.calibration.warnings().iter().for_each(|warning| say(&format!("warning: {warning}")));
    if args.json {
        print_json(&joint)?;
    } else {
        let names: Vec<&str> = joint.models.iter().map(|model| model.name.as_str()).collect();
        let flips = if joint.flips { ", with flips" } else { "" };
        let (organ, names, series) = (&joint.organ, names.join(" + "), joint.series.join(", "));
        print_line(&format!("{organ} ({names}{flips}) on {} sub-images of {series}", joint.images))?;
        print_line(&joint.calibration.describe("on them"))?;
        print_line(&args.out.display().to_string())?;
    }
    if args.keep_going {
        for error in &left_out {
            say(&format!("left out: {error}"));
        }
        return Ok(());
    }
    left_out_error(&left_out)
}

fn share(text: &str) -> std::result::Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|p| (0.0..=1.0).contains(p));
    value.ok_or_else(|| "expected a number from 0 to 1".to_string())
}
