//! `predict`: ROI files, masks and overlays for new series.

use super::{interrupt, left_out_error, print_json, print_line};
use crate::dataset::manifest::GridSpec;
use crate::error::Result;
use crate::predict::{Follow, ObjectCounts, Outcome, PredictedSeries, Request, Settings, run as predict};
use crate::terminal::say;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine predict --model runs/heart litter-12.tif --out predictions
  unet-engine predict --model runs/heart --model runs/liver --model runs/placenta new-series/ --out predictions
  unet-engine predict --model runs/heart litter-13.png --grid 5x7 --border 2 --out predictions
  unet-engine predict --model runs/heart-a --model runs/heart-b --calibration heart.json litter-12.tif --out predictions
  unet-engine predict --model runs/heart litter-13.png --min-area 40 --closing 2 --out predictions

Models of the same organ form an ensemble (see `calibrate`). For each series there are <organ>_RoiSet.zip (coordinates of the sub-images, with
stack positions for stacks and for the stack that a composite makes), <organ>_composite_RoiSet.zip (where they lie in a
composite), <organ>_review.zip (objects just below the threshold, to look through for what precision cost in recall), masks/,
overlays/ and report.html; summary.csv lists all objects. Files of a former prediction in --out are replaced one by one.";

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
    /// Rows and columns of the composites, such as 5x7 [default: as dataset.toml says, else found in the pixels].
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = grid)]
    grid: Option<(usize, usize)>,
    /// Pixels between the sub-images of the composites; goes with --grid.
    #[arg(long, value_name = "PIXELS", default_value_t = 0, requires = "grid", value_parser = clap::value_parser!(u16).range(..=1000))]
    border: u16,
    #[command(flatten)]
    inference: Inference,
    /// Exit with 0 even if some pictures could not be read and were left out.
    #[arg(long)]
    keep_going: bool,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// The largest radius of opening and closing; the work grows with its square.
const RADIUS_MAX: i64 = 64;

/// Options that prediction and evaluation share.
#[derive(clap::Args)]
pub(super) struct Inference {
    /// Probability from which a pixel belongs [default: chosen on the model's validation series].
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// Smallest object, in pixels [default: chosen on the model's validation series].
    #[arg(long, value_name = "PIXELS")]
    min_area: Option<usize>,
    /// Radius in pixels of an opening, which removes what is thinner; 0 for none [default: chosen on the model's validation series].
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u16).range(..=RADIUS_MAX))]
    opening: Option<u16>,
    /// Radius in pixels of a closing, which fills gaps that are narrower; 0 for none [default: the model's own: 0].
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u16).range(..=RADIUS_MAX))]
    closing: Option<u16>,
    /// Fill the holes of objects [default: the model's own: true].
    #[arg(long, value_name = "true|false")]
    fill_holes: Option<bool>,
    /// Average over the mirror images of each sub-image too: four times the work. `calibrate --flips` chooses a threshold for it.
    #[arg(long)]
    flips: bool,
    /// What `calibrate` wrote for these models together, in place of the mean of their own thresholds; one file an organ.
    #[arg(long = "calibration", value_name = "FILE")]
    calibrations: Vec<PathBuf>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the CPU [default: as many as cores].
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

impl Inference {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            flips: self.flips,
            calibrations: self.calibrations.clone(),
            threshold: self.threshold,
            min_area: self.min_area,
            opening: self.opening.map(usize::from),
            closing: self.closing.map(usize::from),
            fill_holes: self.fill_holes,
            ..Settings::of_models(&self.device, self.threads)
        }
    }
}

fn probability(text: &str) -> std::result::Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|p| *p > 0.0 && *p <= 1.0);
    value.ok_or_else(|| "expected a number above 0, at most 1".to_string())
}

fn grid(text: &str) -> std::result::Result<(usize, usize), String> {
    let numbers = text.split_once('x').and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
    let legal = numbers.filter(|(rows, columns)| (1..=1000).contains(rows) && (1..=1000).contains(columns));
    legal.ok_or_else(|| "expected rows and columns from 1 to 1000, such as 5x7".to_string())
}

pub(super) fn run(args: &Args) -> Result<()> {
    interrupt::watch();
    let border = usize::from(args.border);
    let request = Request {
        models: args.models.clone(),
        inputs: args.inputs.clone(),
        grid: args.grid.map(|(rows, columns)| GridSpec { rows, columns, border }),
        out: args.out.clone(),
        settings: args.inference.settings(),
    };
    let outcome = predict(&request, &mut Bar(None))?;
    outcome.notes.iter().for_each(|note| say(&format!("note: {note}")));
    report(args, &outcome)?;
    if args.keep_going {
        for error in &outcome.left_out {
            say(&format!("left out: {error}"));
        }
        return Ok(());
    }
    left_out_error(&outcome.left_out)
}

fn report(args: &Args, outcome: &Outcome) -> Result<()> {
    let n_sub_images: usize = outcome.series.iter().map(|series| series.sub_images).sum();
    if args.json {
        let of = |count: fn(&ObjectCounts) -> usize| -> serde_json::Map<_, _> {
            outcome.n_objects.iter().map(|(organ, counts)| (organ.clone(), count(counts).into())).collect()
        };
        let (objects, review) = (of(|counts| counts.accepted), of(|counts| counts.review));
        let left_out: Vec<String> = outcome.left_out.iter().map(ToString::to_string).collect();
        return print_json(&serde_json::json!({
            "out": args.out.display().to_string(), "series": outcome.series.len(), "sub_images": n_sub_images, "objects": objects, "review": review,
            "left_out": left_out, "device": outcome.device, "inputs": outcome.series,
        }));
    }
    let count = |(organ, counts): &(String, ObjectCounts)| format!("{organ} {} ({} for review)", counts.accepted, counts.review);
    let found = outcome.n_objects.iter().map(count).collect::<Vec<_>>().join(", ");
    print_line(&format!("{} series, {n_sub_images} sub-images; objects: {found}", outcome.series.len()))?;
    print_line(&args.out.display().to_string())
}

/// A bar per series on a terminal, with the time left; indicatif draws nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Follow for Bar {
    fn begin(&mut self, series: &PredictedSeries, n_images: usize) {
        self.0.take().inspect(ProgressBar::finish_and_clear);
        // Whoever sees how a composite is cut also sees when it is cut wrongly.
        say(&format!("{}: {}; {}", series.name, series.source, series.reason));
        self.0 = Some(bar(n_images, &series.name));
    }

    fn done(&mut self, n: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(n as u64);
        }
    }

    fn is_interrupted(&self) -> bool {
        interrupt::requested()
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
