//! `evaluate`: dice, precision, recall and IoU of models on annotated series.

use super::predict::{Inference, bar};
use super::{left_out_error, print_json, print_line};
use crate::dataset::splits::Part;
use crate::error::Result;
use crate::metrics::{Evaluation, Scores};
use crate::predict::evaluate::{Outcome, Report, Request, run as evaluate};
use crate::terminal::{say, say_warnings};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine evaluate --model runs/heart --data litters
  unet-engine evaluate --model runs/heart --model runs/heart-deep --data other-litters --json
  unet-engine evaluate --model runs/heart --data litters --split val --threshold 0.8

On the data that the model was trained with, its test series are used (or, with --split val, its validation series; series added
since are left out); on other data all series. A picture that a model was trained on is refused. `pixel` is pooled over all
sub-images in their own pixels; `mean_dice` is the mean of the sub-images that hold the organ;
`object` counts an object as found at an intersection over union of at least 0.5.";

/// Dice, precision, recall and IoU of models on annotated series.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Run directory of a trained model; several of one organ form an ensemble.
    #[arg(long = "model", value_name = "RUN", required = true)]
    models: Vec<PathBuf>,
    /// Annotated series.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Which series of the model's own data.
    #[arg(long, value_enum, default_value = "test")]
    split: Split,
    #[command(flatten)]
    inference: Inference,
    /// Exit with 0 even if some pictures or annotations could not be read and were left out.
    #[arg(long)]
    keep_going: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Split {
    Test,
    Val,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let part = match args.split {
        Split::Test => Part::Test,
        Split::Val => Part::Val,
    };
    let request = Request { models: args.models.clone(), data: args.data.clone(), part, settings: args.inference.settings() };
    let mut progress = None;
    let Outcome { report, left_out, warnings, .. } = evaluate(&request, |done, of| {
        progress.get_or_insert_with(|| bar(of, "sub-images")).set_position(done as u64);
    })?;
    progress.inspect(indicatif::ProgressBar::finish_and_clear);
    say_warnings(&warnings);
    if let [first, rest @ ..] = &report.series_not_in_split[..] {
        let n_more = rest.len();
        say(&format!(
            "note: {first} and {n_more} more series came after the run's split was written; they are not evaluated here"
        ));
    }
    if args.json {
        print_json(&report)?;
    } else {
        print_table(&report)?;
    }
    if args.keep_going {
        for error in &left_out {
            say(&format!("left out: {error}"));
        }
        return Ok(());
    }
    left_out_error(&left_out)
}

fn print_table(report: &Report) -> Result<()> {
    let series =
        if report.split == "all" { "all series".to_string() } else { format!("{} series of its own data", report.split) };
    print_line(&format!(
        "{} ({}{}), {series}, {}",
        report.organ,
        report.models.join(" + "),
        if report.flips { ", with flips" } else { "" },
        report.point.describe()
    ))?;
    let longest = report.series.iter().map(|s| s.series.chars().count()).max().unwrap_or(0).max(8);
    print_line(&format!(
        "{:longest$} {:>6} {:>6} | {:>6} {:>6} {:>6} {:>6} | {:>6} {:>6} {:>6} {:>6}",
        "", "images", "with", "Dice", "prec.", "recall", "IoU", "F1", "prec.", "recall", "IoU"
    ))?;
    for series in &report.series {
        print_line(&row(&series.series, longest, &series.evaluation))?;
    }
    print_line(&row("all", longest, &report.evaluation))?;
    let evaluation = &report.evaluation;
    print_line(&format!(
        "left: pixels, right: objects. Mean Dice of the {} images with a {}: {}. Images without in which something was found: {} of {}",
        evaluation.images_with_organ,
        report.organ,
        number(evaluation.mean_dice),
        evaluation.false_positive_images,
        evaluation.images_without_organ
    ))
}

fn row(name: &str, longest: usize, evaluation: &Evaluation) -> String {
    let scores = |s: &Scores| [s.dice, s.precision, s.recall, s.iou].map(|v| format!("{:>6}", number(v))).join(" ");
    format!(
        "{name:longest$} {:>6} {:>6} | {} | {}",
        evaluation.images,
        evaluation.images_with_organ,
        scores(&evaluation.pixel),
        scores(&evaluation.object)
    )
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_string(), |v| format!("{v:.3}"))
}
