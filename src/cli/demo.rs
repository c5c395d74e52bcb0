//! `demo`: the whole story in a few minutes on synthetic litters.

use super::{interrupt, print_line};
use crate::atomic_file;
use crate::checkpoint::Model;
use crate::dataset::splits::Part;
use crate::dataset::synth::{self, CompositeKind, LayoutKind, SynthOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::predict::evaluate::{self, Report};
use crate::predict::{self, Follow, PredictedSeries, Settings};
use crate::terminal::say;
use crate::train;
use crate::train::config::{Options, Preset};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

const ORGANS: [&str; 3] = ["heart", "liver", "placenta"];
/// Litters to draw: a fifth is kept for the test, a fifth of the rest for validation.
const N_SERIES: usize = 12;
/// Width and height of a sub-image.
const SIZE: usize = 96;

const AFTER_HELP: &str = "\
Examples:
  unet-engine demo
  unet-engine demo --out trial --seed 3

DIR then holds data/ (synthetic litters with ROI files), runs/<organ>/ (the three models, each with a report.html), predictions/
(ROI files, masks and overlays of the litters that no model has seen) and metrics.json.";

/// The whole story on synthetic litters: train three models, evaluate them, predict, write ROI files.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Folder to write; must not hold anything yet.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; 0 takes all cores.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    refuse_existing(&args.out)?;
    interrupt::watch();
    let data = args.out.join("data");
    say(&format!("1/4 drawing {N_SERIES} synthetic litters into {}", data.display()));
    synth::write(&SynthOptions {
        out: data.clone(),
        n_series: N_SERIES,
        seed: args.seed,
        layout: LayoutKind::Series,
        composite: CompositeKind::Grid,
        size: SIZE,
    })?;
    stop_if_asked()?;
    let runs: Vec<PathBuf> = ORGANS.iter().map(|organ| args.out.join("runs").join(organ)).collect();
    for (organ, run) in ORGANS.iter().zip(&runs) {
        say(&format!("2/4 training the {organ} model into {}", run.display()));
        train_model(args, &data, organ, run)?;
    }
    say("3/4 evaluating on the litters that no model has seen");
    let reports = evaluate_models(args, &data, &runs)?;
    stop_if_asked()?;
    let predictions = args.out.join("predictions");
    say(&format!("4/4 predicting these litters into {}", predictions.display()));
    predict_test_series(args, &data, &runs, &predictions)?;
    print_results(args, &reports, started)
}

/// Between two parts of the story.
fn stop_if_asked() -> Result<()> {
    if interrupt::requested() { Err(Error::new(ErrorKind::Interrupted, "interrupted")) } else { Ok(()) }
}

fn refuse_existing(out: &Path) -> Result<()> {
    let is_empty = match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(Error::io(ErrorKind::Usage, out, "read the folder", e)),
    };
    if is_empty {
        return Ok(());
    }
    let error = Error::usage("expected a new or empty folder, found files in it").at(out);
    Err(error.remedy("remove it, or name another folder with --out DIR"))
}

fn train_model(args: &Args, data: &Path, organ: &str, run: &Path) -> Result<()> {
    let options = Options {
        data: Some(data.to_path_buf()),
        organ: Some(organ.to_string()),
        preset: Some(Preset::Quick),
        seed: Some(args.seed),
        threads: Some(args.threads),
        ..Options::default()
    };
    let request = train::Request { options, out: Some(run.to_path_buf()), resume: false, preview: None };
    train::run(&request, &interrupt::requested).map(|_| ())
}

fn settings(args: &Args) -> Settings {
    Settings::of_models("auto", args.threads)
}

/// Evaluates each model on its test series and writes `metrics.json`: a report by organ.
fn evaluate_models(args: &Args, data: &Path, runs: &[PathBuf]) -> Result<BTreeMap<String, Report>> {
    let mut reports = BTreeMap::new();
    for run in runs {
        let models = vec![run.clone()];
        let request = evaluate::Request { models, data: data.to_path_buf(), part: Part::Test, settings: settings(args) };
        let report = evaluate::run(&request, |_, _| {})?.report;
        reports.insert(report.organ.clone(), report);
    }
    let text = serde_json::to_string_pretty(&reports).map_err(|e| Error::run("cannot write JSON").caused_by(e))?;
    atomic_file::write(&args.out.join("metrics.json"), text.as_bytes())?;
    Ok(reports)
}

fn predict_test_series(args: &Args, data: &Path, runs: &[PathBuf], out: &Path) -> Result<()> {
    // All models split the same series by the same seed.
    let test = Model::open(&runs[0])?.splits.test;
    let inputs = test.iter().map(|series| data.join(series)).collect();
    let (models, out) = (runs.to_vec(), out.to_path_buf());
    let request = predict::Request { models, inputs, grid: None, out, settings: settings(args) };
    predict::run(&request, &mut Silent).map(|_| ())
}

/// Two series are predicted in a second or two: nothing to follow.
struct Silent;

impl Follow for Silent {
    fn begin(&mut self, _series: &PredictedSeries, _n_images: usize) {}
    fn done(&mut self, _n: usize) {}
    fn is_interrupted(&self) -> bool {
        interrupt::requested()
    }
}

fn print_results(args: &Args, reports: &BTreeMap<String, Report>, started: Instant) -> Result<()> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_string(), |v| format!("{v:.3}"));
    print_line("on litters that no model has seen:")?;
    print_line(&format!(
        "{:9} {:>10} {:>9} {:>15} {:>12} {:>16}",
        "", "pixel Dice", "mean Dice", "pixel precision", "pixel recall", "object precision"
    ))?;
    for (organ, report) in reports {
        let (pixel, object) = (&report.evaluation.pixel, &report.evaluation.object);
        let values = [pixel.dice, report.evaluation.mean_dice, pixel.precision, pixel.recall, object.precision];
        let [dice, mean_dice, precision, recall, object_precision] = values.map(number);
        print_line(&format!("{organ:9} {dice:>10} {mean_dice:>9} {precision:>15} {recall:>12} {object_precision:>16}"))?;
    }
    print_line(&format!("done in {:.0} s", started.elapsed().as_secs_f64()))?;
    let out = args.out.display();
    print_line(&format!("look at    {out}/runs/heart/report.html in a browser"))?;
    print_line(&format!(
        "open       a composite.tif below {out}/data in Fiji, and drop the ROI files below {out}/predictions on it"
    ))
}
