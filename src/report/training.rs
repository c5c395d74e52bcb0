//! The report of a training: `curves.png` and `report.html`.

use super::chart::{self, Chart, Curve};
use super::html::{escape, figure, metrics_table, page};
use super::overlay::{Color, overlay};
use super::precision_recall;
use crate::atomic_file;
use crate::checkpoint::{RunFiles, run_name};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Mask;
use crate::metrics::calibrate::Prediction;
use crate::metrics::calibration::Calibration;
use crate::metrics::{Evaluation, ImageCounts, evaluate, image_counts};
use crate::segment::{Instance, instances_by_channel};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const BLUE: Color = [31, 119, 180];
const ORANGE: Color = [230, 110, 10];
const GREEN: Color = [44, 140, 44];
// Neither is a grey, which would drown in speckle.
const ANNOTATED: Color = [0, 200, 255];
const PREDICTED: Color = [255, 64, 64];
/// Examples shown of each kind: best, median, worst.
const N_EXAMPLES: usize = 3;

/// A validation sub-image with what was found in it.
struct Judged<'a> {
    prediction: &'a Prediction<'a>,
    found: Vec<Instance>,
    counts: ImageCounts,
}

/// Writes `curves.png` and `report.html` into a run directory, from its `train.jsonl`, `config.toml` and `calibration.json`, and
/// from the predictions of the validation series.
///
/// # Errors
/// If one of those files cannot be read or the report cannot be written.
pub fn write_training(run_dir: &Path, predictions: &[Prediction<'_>]) -> Result<()> {
    let files = RunFiles::new(run_dir);
    let charts = charts(&epochs(&read(&files.log())?, &files.log())?);
    atomic_file::write(&files.curves(), &chart::draw(&charts).png()?)?;
    let calibration: Calibration = serde_json::from_str(&read(&files.calibration())?)
        .map_err(|e| Error::data(files.calibration(), "not the JSON that `train` writes").caused_by(e))?;
    let judged: Vec<Judged> = predictions.iter().map(|p| judge(p, &calibration)).collect();
    let mut body = choice(&calibration);
    body.push_str("<h2>Curves</h2>\n");
    charts.iter().for_each(|chart| body.push_str(&chart.svg()));
    body.push_str("<h2>Choice of the threshold</h2>\n");
    body.push_str(&precision_recall::svg(&calibration));
    body.push_str("<h2>Validation series</h2>\n");
    body.push_str(&series_table(&judged));
    body.push_str(&examples(&judged)?);
    body.push_str("<h2>Configuration</h2>\n<details><summary>config.toml</summary><pre>");
    body.push_str(&escape(&read(&files.config())?));
    body.push_str("</pre></details>\n");
    atomic_file::write(&run_dir.join("report.html"), page(&format!("Training {}", run_name(run_dir)), &body).as_bytes())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(ErrorKind::Data, path, "read the file for the report", e))
}

/// The lines of `train.jsonl`.
fn epochs(text: &str, path: &Path) -> Result<Vec<Value>> {
    let parse =
        |line: &str| serde_json::from_str(line).map_err(|e| Error::data(path, "expected a line of JSON per epoch").caused_by(e));
    text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}

fn charts(epochs: &[Value]) -> Vec<Chart> {
    let curve = |name, color, key: &str| Curve { name, color, values: epochs.iter().map(|e| e[key].as_f64()).collect() };
    vec![
        Chart {
            title: "Loss",
            curves: vec![curve("training", BLUE, "train_loss"), curve("validation", ORANGE, "val_loss")],
            range: None,
        },
        Chart {
            title: "Validation",
            curves: vec![
                curve("Dice", BLUE, "val_dice"),
                curve("precision", ORANGE, "val_precision"),
                curve("recall", GREEN, "val_recall"),
            ],
            range: Some([0.0, 1.0]),
        },
    ]
}

fn judge<'a>(prediction: &'a Prediction<'a>, calibration: &Calibration) -> Judged<'a> {
    let image = &prediction.sample.image;
    let Prediction { probability, channels, .. } = prediction;
    let found = instances_by_channel(probability, channels, image.width, image.height, &calibration.point);
    let counts = image_counts(prediction.sample, &found);
    Judged { prediction, found, counts }
}

/// What was chosen, in words.
fn choice(calibration: &Calibration) -> String {
    let mut text = format!("<p>Chosen: {}.</p>\n", escape(&calibration.describe("on the validation series")));
    if let Some(review) = calibration.review {
        text.push_str(&format!(
            "<p>Objects from a probability of {:.3} that are not accepted go to the review list; on the validation series {} of {} \
             are right.</p>\n",
            review.threshold,
            review.objects.true_positive,
            review.objects.true_positive + review.objects.false_positive
        ));
    }
    if let Some(asked) = calibration.min_precision {
        let answer = if calibration.reached { "is reached" } else { "<b>is not reachable</b>; this comes nearest" };
        text.push_str(&format!("<p>The precision that was asked for, {asked}, {answer} on the validation series.</p>\n"));
    }
    text
}

fn series_table(judged: &[Judged<'_>]) -> String {
    let mut by_series: BTreeMap<&str, Vec<ImageCounts>> = BTreeMap::new();
    for image in judged {
        by_series.entry(&image.prediction.sample.series).or_default().push(image.counts);
    }
    let mut rows: Vec<(&str, Evaluation)> = by_series.into_iter().map(|(name, counts)| (name, evaluate(&counts))).collect();
    let all: Vec<ImageCounts> = judged.iter().map(|image| image.counts).collect();
    rows.push(("all", evaluate(&all)));
    metrics_table(rows.iter().map(|(name, evaluation)| (*name, evaluation)))
}

/// Overlays of the best, median and worst images with the organ, and of those without it in which most was found.
fn examples(judged: &[Judged<'_>]) -> Result<String> {
    let dice = |image: &Judged<'_>| image.counts.pixels.f_beta(1.0).unwrap_or(0.0);
    let mut with: Vec<&Judged> = judged.iter().filter(|image| image.counts.holds_organ).collect();
    with.sort_by(|a, b| dice(b).total_cmp(&dice(a)));
    let n = N_EXAMPLES.min(with.len());
    let median_start = (with.len() - n) / 2;
    let false_positive = |image: &&Judged| image.counts.pixels.false_positive > 0 && !image.counts.holds_organ;
    let mut without: Vec<&Judged> = judged.iter().filter(false_positive).collect();
    without.sort_by_key(|image| std::cmp::Reverse(image.counts.pixels.false_positive));
    without.truncate(N_EXAMPLES);
    let mut text = String::from("<h2>Examples</h2>\n<p>Blue: annotated. Red: predicted.</p>\n");
    let groups = [
        ("Best", &with[..n]),
        ("Median", &with[median_start..median_start + n]),
        ("Worst", &with[with.len() - n..]),
        ("Found where nothing is annotated", &without[..]),
    ];
    for (title, images) in groups.into_iter().filter(|(_, images)| !images.is_empty()) {
        text.push_str(&format!("<h3>{title}</h3>\n"));
        for image in images {
            text.push_str(&example(image, dice(image))?);
        }
    }
    Ok(text)
}

fn example(image: &Judged<'_>, dice: f64) -> Result<String> {
    let sample = image.prediction.sample;
    let annotated = sample.instances.iter().map(|mask: &Mask| (mask, ANNOTATED));
    let found = image.found.iter().map(|instance| (&instance.mask, PREDICTED));
    let picture = overlay(&sample.image, annotated.chain(found));
    Ok(figure("image/png", &picture.png()?, &format!("{}, sub-image {}: Dice {dice:.3}", sample.series, sample.sub_image)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Sample;
    use crate::image::Gray;
    use crate::metrics::calibrate::calibrate;

    fn sample(sub_image: usize, with: bool) -> Sample {
        let image = Gray::new(60, 40, (0..2400).map(|i| (i % 97) as f32).collect());
        let mut mask = Mask::new(60, 40);
        (10..20).for_each(|y| mask.set_span(y, 10, 30));
        let instances = if with { vec![mask] } else { Vec::new() };
        Sample { series: "a<b".into(), sub_image, image, instances, digest: [0; 32] }
    }

    #[test]
    fn a_report_is_one_page_with_curves_metrics_and_overlays() {
        let folder = tempfile::tempdir().unwrap();
        let files = RunFiles::new(folder.path());
        let line =
            r#"{"epoch": 1, "train_loss": 0.9, "val_loss": 0.8, "val_dice": null, "val_precision": null, "val_recall": 0.0}"#;
        std::fs::write(files.log(), format!("{line}\n{}\n", line.replace("null", "0.5"))).unwrap();
        std::fs::write(files.config(), "organ = \"heart\"\n").unwrap();
        let samples = [sample(1, true), sample(2, false), sample(3, true)];
        let probability = |s: &Sample| -> Vec<f32> {
            (0..2400).map(|i| if (i / 60 + s.sub_image) % 40 < 20 && i % 60 > 9 && i % 60 < 30 { 0.9 } else { 0.1 }).collect()
        };
        let predictions: Vec<_> =
            samples.iter().map(|s| Prediction { sample: s, probability: probability(s), channels: Vec::new() }).collect();
        let calibration = calibrate(&predictions, Some(0.99));
        std::fs::write(files.calibration(), serde_json::to_string(&calibration).unwrap()).unwrap();
        write_training(folder.path(), &predictions).unwrap();
        let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.matches("data:image/png;base64,").count() >= 6, "best, median, worst of two images");
        assert!(page.contains("a&lt;b") && !page.contains("a<b"));
        assert!(page.contains("is not reachable") && page.contains("organ = &quot;heart&quot;"));
        assert!(!page.contains("http"), "nothing is loaded from elsewhere");
        let curves = image::open(folder.path().join("curves.png")).unwrap();
        assert_eq!((curves.width(), curves.height()), (640, 640));
    }
}
