//! `train`: train a model of one organ.

use super::several::{self, Kind};
use super::{interrupt, left_out_error, print_line};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::train::config::{Options, required};
use crate::train::{Request, run as train};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine train --data litters --organ heart --out runs/heart
  unet-engine train --data litters --organ liver --preset quick --preview liver.png --out runs/liver-trial
  unet-engine train --resume --out runs/heart
  unet-engine train --data litters --organ all --out runs
  unet-engine train --data litters --organ heart --folds 5 --out cross-validation

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
    /// Cross-validation: K trainings below --out, each with other test series, and what they reach together.
    #[arg(long, value_name = "K", conflicts_with = "seeds", value_parser = clap::value_parser!(u16).range(2..))]
    folds: Option<u16>,
    /// N trainings below --out on one split with the seeds --seed, --seed + 1, ..., and how far they differ.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    seeds: Option<u16>,
    /// Exit with 0 even if some pictures or annotations could not be read and were left out.
    #[arg(long)]
    keep_going: bool,
}

/// The name that stands for every organ in the data.
const ALL_ORGANS: &str = "all";

pub(super) fn run(args: &Args) -> Result<()> {
    let options = match &args.config {
        Some(path) => args.options.over_file(path)?,
        None => args.options.clone(),
    };
    let request = Request { options, out: args.out.clone(), resume: args.resume, preview: args.preview.clone() };
    interrupt::watch();
    let mut left_out = Vec::new();
    let is_all = request.options.organ.as_deref() == Some(ALL_ORGANS);
    for request in by_organ(request)? {
        let done = run_organ(args, &request).map_err(|error| match error.kind() {
            ErrorKind::Interrupted if is_all => Error::new(ErrorKind::Interrupted, "interrupted; what is done is saved")
                .remedy("go on with the same command and --resume"),
            _ => error,
        });
        left_out.extend(done?);
    }
    if args.keep_going { Ok(()) } else { left_out_error(&left_out) }
}

/// One request for each organ: of `all` those in the data, each below `--out` (or `runs`) under its name.
fn by_organ(request: Request) -> Result<Vec<Request>> {
    if request.options.organ.as_deref() != Some(ALL_ORGANS) {
        return Ok(vec![request]);
    }
    if request.preview.is_some() || request.options.init.is_some() {
        return Err(Error::usage("--organ all goes neither with --preview nor with --init").remedy("train that organ by itself"));
    }
    let (data, _) = required(&request.options)?;
    let organs = Dataset::open(&data)?.organs();
    if organs.is_empty() {
        return Err(
            Error::data(&data, "no series is annotated for any organ").remedy("run `unet-engine inspect` to see what was found")
        );
    }
    let out = request.out.clone().unwrap_or_else(|| "runs".into());
    let of = |organ: String| {
        let run = out.join(&organ);
        // A run that is not there yet is begun: the one before it was interrupted.
        let resume = request.resume && run.is_dir();
        Request { out: Some(run), resume, options: Options { organ: Some(organ), ..request.options.clone() }, preview: None }
    };
    Ok(organs.into_iter().map(of).collect())
}

/// Trains one organ; returns what was left out.
fn run_organ(args: &Args, request: &Request) -> Result<Vec<Error>> {
    let kind = args.folds.map(|k| Kind::Folds(k.into())).or(args.seeds.map(|n| Kind::Seeds(n.into())));
    if let Some(kind) = kind {
        if request.preview.is_some() {
            return Err(Error::usage("--preview goes with a single training").remedy("leave --folds and --seeds out"));
        }
        let out = several::run(request, kind)?;
        print_line(&out.display().to_string())?;
        return Ok(Vec::new());
    }
    let outcome = train(request, &interrupt::requested)?;
    print_line(&outcome.run.display().to_string())?;
    Ok(outcome.left_out)
}
