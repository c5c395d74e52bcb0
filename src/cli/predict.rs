//! `predict`: ROI files, masks and overlays for new series.

use super::{left_out_error, print_json, print_line};
use crate::error::Result;
use crate::predict::{Follow, Outcome, Request, Settings, run as predict};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine predict --model runs/heart litter-12.tif --out predictions
  unet-engine predict --model runs/heart --model runs/liver --model runs/placenta new-series/ --out predictions

Models of the same organ form an ensemble. For each series there are <organ>_RoiSet.zip (coordinates of the sub-images, with
stack positions for stacks and for the stack that a composite makes), <organ>_composite_RoiSet.zip (where they lie in a
composite), masks/ and overlays/; summary.csv lists all objects. Files of a former prediction in --out are replaced one by one.";

/// ROI files, masks and overlays for new series.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Run directory of a trained model; several may be given.
    #[arg(long = "model", value_name = "RUN", required = true)]
    models: Vec<PathBuf>,
    /// Composites, stacks, single pictures, or folders of them.
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    inference: Inference,
    /// Exit with 0 even if some pictures could not be read and were left out.
    #[arg(long)]
    keep_going: bool,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Options that prediction and evaluation share.
#[derive(clap::Args)]
pub(super) struct Inference {
    /// Probability from which a pixel belongs [default: chosen on the model's validation series].
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// Smallest object, in pixels [default: chosen on the model's validation series].
    #[arg(long, value_name = "PIXELS")]
    min_area: Option<usize>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the CPU [default: as many as cores].
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

impl Inference {
    pub(super) fn settings(&self) -> Settings {
        Settings { device: self.device.clone(), threads: self.threads, threshold: self.threshold, min_area: self.min_area }
    }
}

fn probability(text: &str) -> std::result::Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|p| *p > 0.0 && *p <= 1.0);
    value.ok_or_else(|| "expected a number above 0, at most 1".to_string())
}

pub(super) fn run(args: &Args) -> Result<()> {
    let request = Request {
        models: args.models.clone(),
        inputs: args.inputs.clone(),
        out: args.out.clone(),
        settings: args.inference.settings(),
    };
    let outcome = predict(&request, &mut Bar(None))?;
    report(args, &outcome)?;
    if args.keep_going {
        for error in &outcome.left_out {
            let _ = writeln!(std::io::stderr(), "left out: {error}");
        }
        return Ok(());
    }
    left_out_error(&outcome.left_out)
}

fn report(args: &Args, outcome: &Outcome) -> Result<()> {
    if args.json {
        let objects: serde_json::Map<_, _> = outcome.n_objects.iter().map(|(organ, n)| (organ.clone(), (*n).into())).collect();
        let left_out: Vec<String> = outcome.left_out.iter().map(ToString::to_string).collect();
        return print_json(&serde_json::json!({
            "out": args.out.display().to_string(), "series": outcome.n_series, "sub_images": outcome.n_sub_images, "objects": objects,
            "left_out": left_out, "device": outcome.device,
        }));
    }
    let objects: Vec<String> = outcome.n_objects.iter().map(|(organ, n)| format!("{organ} {n}")).collect();
    let found = objects.join(", ");
    print_line(&format!("{} series, {} sub-images; objects: {found}", outcome.n_series, outcome.n_sub_images))?;
    print_line(&args.out.display().to_string())
}

/// A bar per series on a terminal, with the time left; indicatif draws nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Follow for Bar {
    fn begin(&mut self, series: &str, n_images: usize) {
        self.0.take().inspect(ProgressBar::finish_and_clear);
        self.0 = Some(bar(n_images, series));
    }

    fn done(&mut self, n: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(n as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.take().inspect(ProgressBar::finish_and_clear);
    }
}

/// A bar without colours, so that NO_COLOR is honoured without asking.
pub(super) fn bar(n: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(n as u64);
    if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {msg}: {pos} of {len}, {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_string());
    bar
}
