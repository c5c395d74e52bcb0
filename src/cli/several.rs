//! Several trainings with one command: cross-validation by series, or the same training with several seeds.
//!
//! Each training is a run directory of its own below `--out`; `summary.json` beside them says what they reach on their test series, with
//! mean and spread. What is there already is not trained again.

use super::{interrupt, print_line};
use crate::atomic_file;
use crate::checkpoint::RunFiles;
use crate::dataset::Dataset;
use crate::dataset::names::natural_order;
use crate::dataset::splits::{Part, SplitOptions, Splits};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{Evaluation, ImageCounts, Scores, evaluate as evaluate_counts};
use crate::predict::{Settings, evaluate};
use crate::terminal::say;
use crate::train::config::{Options, SplitBy, required};
use crate::train::{self, Request};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What varies from training to training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every series is in the test set of one of this many trainings.
    Folds(usize),
    /// This many seeds, counted from `--seed`, on one split.
    Seeds(usize),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Folds(_) => "folds",
            Kind::Seeds(_) => "seeds",
        }
    }
}

/// One of the trainings, judged on its test series.
#[derive(Serialize)]
struct Judged {
    run: String,
    seed: u64,
    test: Vec<String>,
    threshold: f32,
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(skip)]
    counts: Vec<ImageCounts>,
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary {
    organ: String,
    kind: &'static str,
    runs: Vec<Judged>,
    /// Of folds: over all series, each judged by the model that has not seen it.
    pooled: Option<Evaluation>,
    mean: Spread,
    /// Standard deviation between the trainings (n - 1).
    deviation: Spread,
}

/// A number for each score; none where fewer than two trainings (or, of a mean, one) have it.
#[derive(Serialize)]
struct Spread {
    pixel: Scores,
    object: Scores,
}

/// Trains, evaluates, and writes the summary; returns the folder.
pub(super) fn run(request: &Request, kind: Kind) -> Result<PathBuf> {
    let wanted = match &request.out {
        Some(out) if request.resume => as_begun(&request.options, out, kind)?,
        _ => request.options.clone(),
    };
    let (data, organ) = required(&wanted)?;
    let out = request.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("{organ}-{}", kind.name())));
    if !request.resume && std::fs::read_dir(&out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::usage("--out exists already").at(&out).remedy("use --resume to go on, or another --out"));
    }
    let trainings = trainings(&wanted, &data, &organ, kind)?;
    let mut runs = Vec::new();
    for (i, (name, options)) in trainings.iter().enumerate() {
        say(&format!("{organ}: training {} of {}, {name}", i + 1, trainings.len()));
        runs.push(train_and_judge(request, options, &data, &out.join(name))?);
    }
    let summary = summarise(organ, kind, runs);
    let text = serde_json::to_string_pretty(&summary).map_err(|e| Error::run("cannot write JSON").caused_by(e))? + "\n";
    atomic_file::write(&out.join("summary.json"), text.as_bytes())?;
    print_summary(&summary)?;
    Ok(out)
}

/// The options of a folder of trainings that goes on: what is given now over what the first of them was begun with, so that those which
/// have not begun get the same.
fn as_begun(options: &Options, out: &Path, kind: Kind) -> Result<Options> {
    let folders = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut configs: Vec<PathBuf> = folders.map(|run| RunFiles::new(&run).config()).filter(|config| config.is_file()).collect();
    configs.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
    let Some(first) = configs.first() else { return Ok(options.clone()) };
    let mut wanted = options.over_file(first)?;
    if let Kind::Folds(_) = kind {
        // Each fold has its own.
        (wanted.test_series, wanted.val_series) = (options.test_series.clone(), options.val_series.clone());
    }
    Ok(wanted)
}

/// The trainings by the names of their folders, and the options of each.
fn trainings(options: &Options, data: &Path, organ: &str, kind: Kind) -> Result<Vec<(String, Options)>> {
    let samples = Dataset::open(data)?.samples(organ)?.samples;
    let seed = options.seed.unwrap_or(0);
    let split = SplitOptions {
        seed,
        test_series: options.test_series.clone().unwrap_or_default(),
        val_series: options.val_series.clone().unwrap_or_default(),
        by_image: options.split_by == Some(SplitBy::Image),
    };
    match kind {
        Kind::Folds(k) => {
            if !split.test_series.is_empty() || !split.val_series.is_empty() {
                return Err(
                    Error::usage("--folds chooses the test series itself").remedy("leave --test-series and --val-series out")
                );
            }
            let folds = Splits::folds(&samples, &split, k)?;
            let of = |(i, test): (usize, Vec<String>)| {
                (format!("fold-{}", i + 1), Options { test_series: Some(test), ..options.clone() })
            };
            Ok(folds.into_iter().enumerate().map(of).collect())
        }
        Kind::Seeds(n) => {
            let Splits { test, val, .. } = Splits::make(&samples, &split)?;
            let of = |seed: u64| {
                let (test_series, val_series) = (Some(test.clone()), Some(val.clone()));
                (format!("seed-{seed}"), Options { seed: Some(seed), test_series, val_series, ..options.clone() })
            };
            Ok((0..n as u64).map(|i| of(seed + i)).collect())
        }
    }
}

fn train_and_judge(request: &Request, options: &Options, data: &Path, run: &Path) -> Result<Judged> {
    let resume = request.resume && run.join("config.toml").is_file();
    let options = match resume {
        // What is given now must be what it was begun with; what is left out may be anything.
        true => {
            let Options { seed, test_series, val_series, .. } = options.clone();
            &Options { seed, test_series, val_series, ..request.options.clone() }
        }
        false => options,
    };
    let one = Request { options: options.clone(), out: Some(run.to_path_buf()), resume, preview: None };
    train::run(&one, &interrupt::requested).map_err(|error| match error.kind() {
        ErrorKind::Interrupted => Error::new(ErrorKind::Interrupted, "interrupted; what is done is saved")
            .at(run)
            .remedy("go on with the same command and --resume"),
        _ => error,
    })?;
    let settings = Settings::of_models(options.device.as_deref().unwrap_or("auto"), options.threads.unwrap_or(0));
    let models = vec![run.to_path_buf()];
    let request = evaluate::Request { models, data: data.to_path_buf(), part: Part::Test, settings };
    let evaluate::Outcome { report, counts, .. } = evaluate::run(&request, |_, _| {})?;
    Ok(Judged {
        run: run.display().to_string(),
        seed: options.seed.unwrap_or(0),
        test: options.test_series.clone().unwrap_or_default(),
        threshold: report.point.threshold,
        evaluation: report.evaluation,
        counts,
    })
}

fn summarise(organ: String, kind: Kind, runs: Vec<Judged>) -> Summary {
    let all: Vec<ImageCounts> = runs.iter().flat_map(|run| run.counts.iter().copied()).collect();
    let pooled = matches!(kind, Kind::Folds(_)).then(|| evaluate_counts(&all));
    let (mean, deviation) = (spread(&runs, mean), spread(&runs, deviation));
    Summary { organ, kind: kind.name(), runs, pooled, mean, deviation }
}

/// `of` the values of each score over the trainings that have one.
fn spread(runs: &[Judged], of: impl Fn(&[f64]) -> Option<f64>) -> Spread {
    let values = |score: &dyn Fn(&Evaluation) -> Option<f64>| {
        of(&runs.iter().filter_map(|run| score(&run.evaluation)).collect::<Vec<_>>())
    };
    let scores = |part: fn(&Evaluation) -> Scores| Scores {
        dice: values(&|e| part(e).dice),
        precision: values(&|e| part(e).precision),
        recall: values(&|e| part(e).recall),
        iou: values(&|e| part(e).iou),
    };
    Spread { pixel: scores(|e| e.pixel), object: scores(|e| e.object) }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample (n - 1).
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

fn print_summary(summary: &Summary) -> Result<()> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_string(), |v| format!("{v:.3}"));
    let row = |name: &str, pixel: &Scores, object: &Scores| {
        let [dice, precision, recall] = [pixel.dice, pixel.precision, pixel.recall].map(number);
        let [f1, object_precision, object_recall] = [object.dice, object.precision, object.recall].map(number);
        format!("{name:10} {dice:>6} {precision:>9} {recall:>6} | {f1:>6} {object_precision:>9} {object_recall:>6}")
    };
    print_line(&format!("{}, on series that no model has seen (left: pixels, right: objects)", summary.organ))?;
    print_line(&format!(
        "{:10} {:>6} {:>9} {:>6} | {:>6} {:>9} {:>6}",
        "", "Dice", "precision", "recall", "F1", "precision", "recall"
    ))?;
    for judged in &summary.runs {
        let name = Path::new(&judged.run).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        print_line(&row(&name, &judged.evaluation.pixel, &judged.evaluation.object))?;
    }
    print_line(&row("mean", &summary.mean.pixel, &summary.mean.object))?;
    print_line(&row("deviation", &summary.deviation.pixel, &summary.deviation.object))?;
    summary.pooled.as_ref().map_or(Ok(()), |pooled| print_line(&row("pooled", &pooled.pixel, &pooled.object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation() {
        assert_eq!((mean(&[]), deviation(&[0.5])), (None, None));
        assert_eq!((mean(&[1.0, 3.0]), deviation(&[1.0, 2.0, 3.0])), (Some(2.0), Some(1.0)));
    }
}
