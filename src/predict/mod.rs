//! Prediction: composites, stacks, folders or single pictures in; ROI files, masks, overlays and a table out. And evaluation, which
//! is prediction held against annotations.

mod ensemble;
pub mod evaluate;
pub mod joint;
mod output;
pub mod style;

pub use ensemble::{Combined, Ensemble, Settings};
pub use output::ObjectCounts;

use crate::atomic_file;
use crate::dataset::manifest::GridSpec;
use crate::dataset::{Series, open_input};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::report::{self, SeriesRow};
use ensemble::Found;
use output::SeriesOutput;
use serde::Serialize;
use std::collections::HashSet;
use std::path::PathBuf;
use style::Style;

/// What to predict.
#[derive(Clone, Debug)]
pub struct Request {
    /// Run directories; those of one organ form an ensemble.
    pub models: Vec<PathBuf>,
    pub inputs: Vec<PathBuf>,
    /// Rows and columns of every composite, in place of what `dataset.toml` says or the pixels show.
    pub grid: Option<GridSpec>,
    pub out: PathBuf,
    pub settings: Settings,
}

/// What a prediction has done.
#[derive(Debug)]
pub struct Outcome {
    /// What it ran on, in words.
    pub device: String,
    pub series: Vec<PredictedSeries>,
    /// Objects found, by organ.
    pub n_objects: Vec<(String, ObjectCounts)>,
    /// Pictures that could not be read; the rest went on.
    pub left_out: Vec<Error>,
    /// What the user should know about the models.
    pub notes: Vec<String>,
}

/// A series as it was understood.
#[derive(Clone, Debug, Serialize)]
pub struct PredictedSeries {
    /// The name of its folder.
    pub name: String,
    /// What its pictures are, in words: `composite, 5 rows x 7 columns of ...`.
    pub source: String,
    /// How that was found out.
    pub reason: String,
    /// Sub-images that could be read.
    pub sub_images: usize,
}

/// Hears how far a prediction is.
pub trait Follow {
    /// A series begins, with `n_images` inferences (sub-images times organs).
    fn begin(&mut self, series: &PredictedSeries, n_images: usize);
    /// `n` inferences of the series are done.
    fn done(&mut self, n: usize);
    /// Whether the user wants to stop; asked now and then.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Sub-images whose probabilities are held in memory at a time.
const CHUNK: usize = 32;

/// Predicts all inputs and writes everything under `request.out`.
///
/// Files that a former prediction left there are replaced one by one, each in one step; others stay.
///
/// # Errors
/// If a model cannot be opened, if no input can be read, if the device fails or a file cannot be written; if it is interrupted (then
/// `summary.csv` lists what is done). A picture that cannot be read is no error here but is named in [`Outcome::left_out`].
pub fn run(request: &Request, follow: &mut dyn Follow) -> Result<Outcome> {
    let mut ensembles = Ensemble::open_all(&request.models, &request.settings)?;
    let organs: Vec<String> = ensembles.iter().map(|e| e.organ.clone()).collect();
    let styles = style::styles(organs.iter().map(String::as_str));
    let styles: Vec<Style> = organs.iter().map(|organ| styles[organ]).collect();
    let mut outcome = Outcome {
        device: ensembles.first().map(Ensemble::device).unwrap_or_default(),
        series: Vec::new(),
        n_objects: organs.iter().map(|organ| (organ.clone(), ObjectCounts::default())).collect(),
        left_out: Vec::new(),
        notes: ensembles.iter().filter_map(|e| e.advice(&request.settings)).collect(),
    };
    let mut summary = String::from(output::SUMMARY_HEADER);
    let mut rows = Vec::new();
    let mut names = HashSet::new();
    for input in &request.inputs {
        let all_series = match open_input(input, request.grid) {
            Ok(series) => series,
            Err(error) => {
                outcome.left_out.push(error);
                continue;
            }
        };
        for series in &all_series {
            let name = unique_name(&series.name, &mut names);
            let Some(images) = read_images(series, &ensembles, &mut outcome.left_out) else { continue };
            let (source, reason) = (series.source.describe(), series.source_reason.clone());
            let predicted = PredictedSeries { name: name.clone(), source, reason, sub_images: images.len() };
            follow.begin(&predicted, images.len() * ensembles.len());
            let mut folder = SeriesOutput::create(&request.out, &name, series, ensembles.len())?;
            if !predict_images(&mut ensembles, &styles, &images, follow, &mut folder)? {
                write_summary(request, &summary, &names, &ensembles)?;
                return Err(interrupted(request, outcome.series.len()));
            }
            let found = folder.finish(&ensembles, &styles, &predicted.source)?;
            rows.push(row(&predicted, &found));
            for ((text, counts), (_, sum)) in found.into_iter().zip(&mut outcome.n_objects) {
                summary.push_str(&text);
                sum.accepted += counts.accepted;
                sum.review += counts.review;
            }
            outcome.series.push(predicted);
        }
    }
    if outcome.series.is_empty() {
        return Err(nothing_read(outcome.left_out));
    }
    write_summary(request, &summary, &names, &ensembles)?;
    write_report(request, &ensembles, &rows, &outcome.left_out)?;
    Ok(outcome)
}

/// Predicts a series' images chunk by chunk, so that few maps and masks are in memory at a time. Says whether it came to the end; it
/// does not if the user interrupts.
fn predict_images(
    ensembles: &mut [Ensemble],
    styles: &[Style],
    images: &[(usize, Gray)],
    follow: &mut dyn Follow,
    folder: &mut SeriesOutput<'_>,
) -> Result<bool> {
    let mut done = 0;
    for chunk in images.chunks(CHUNK) {
        let pictures: Vec<&Gray> = chunk.iter().map(|(_, image)| image).collect();
        let mut found: Vec<Vec<Found>> = Vec::with_capacity(ensembles.len());
        for ensemble in ensembles.iter_mut() {
            if follow.is_interrupted() {
                return Ok(false);
            }
            found.push(ensemble.objects(&pictures, |n| follow.done(done + n))?);
            done += chunk.len();
        }
        for (i, (number, image)) in chunk.iter().enumerate() {
            let here: Vec<&Found> = found.iter().map(|organ| &organ[i]).collect();
            folder.add(*number, image, ensembles, styles, &here)?;
        }
    }
    Ok(true)
}

fn row(predicted: &PredictedSeries, found: &[(String, ObjectCounts)]) -> SeriesRow {
    SeriesRow {
        name: predicted.name.clone(),
        source: predicted.source.clone(),
        sub_images: predicted.sub_images,
        counts: found.iter().map(|(_, counts)| (counts.accepted, counts.review)).collect(),
    }
}

fn write_report(request: &Request, ensembles: &[Ensemble], rows: &[SeriesRow], left_out: &[Error]) -> Result<()> {
    let organs: Vec<&str> = ensembles.iter().map(|e| e.organ.as_str()).collect();
    let models: Vec<String> = ensembles.iter().map(Ensemble::describe).collect();
    let left_out: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    report::write_predictions(&request.out.join("report.html"), &organs, &models, rows, &left_out)
}

/// Writes `summary.csv`; rows of series and organs that were predicted before, and not now, stay as long as their folders are there.
fn write_summary(request: &Request, summary: &str, series: &HashSet<String>, ensembles: &[Ensemble]) -> Result<()> {
    let path = request.out.join("summary.csv");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let rows = before.strip_prefix(output::SUMMARY_HEADER).unwrap_or_default().split_inclusive('\n');
    let stays = |row: &&str| {
        let Some((name, organ)) = output::series_and_organ(row) else { return false };
        let is_new = series.contains(&name.to_lowercase()) && ensembles.iter().any(|e| e.organ == organ);
        !is_new && request.out.join(&name).is_dir()
    };
    let kept: String = rows.filter(stays).collect();
    atomic_file::write(&path, format!("{summary}{kept}").as_bytes())
}

fn interrupted(request: &Request, n_series: usize) -> Error {
    Error::new(ErrorKind::Interrupted, format!("interrupted after {n_series} series; summary.csv lists what was found in them"))
        .at(&request.out)
        .remedy("run the same command again: it begins anew, and replaces the files one by one")
}

fn nothing_read(left_out: Vec<Error>) -> Error {
    let mut errors = left_out.into_iter();
    match (errors.next(), errors.next()) {
        (Some(only), None) => only,
        (Some(first), Some(_)) => Error::new(ErrorKind::Data, format!("none of the inputs could be read; the first: {first}")),
        _ => Error::new(ErrorKind::Data, "the inputs hold no pictures")
            .remedy("give composites, stacks, pictures or folders of them"),
    }
}

/// The sub-images of a series that can be read, with their numbers; `None` if there are none. The others go to `left_out`.
fn read_images(series: &Series, ensembles: &[Ensemble], left_out: &mut Vec<Error>) -> Option<Vec<(usize, Gray)>> {
    let all = match series.sub_images() {
        Ok(all) => all,
        Err(error) => {
            left_out.push(error);
            return None;
        }
    };
    let mut images = Vec::with_capacity(all.len());
    for (number, image) in all {
        let checked = image.and_then(|image| ensembles.iter().try_for_each(|e| e.check(&image)).map(|()| image));
        match checked {
            Ok(image) => images.push((number, image)),
            Err(error) if error.path().is_none() => left_out.push(error.at(format!("{}, sub-image {number}", series.name))),
            Err(error) => left_out.push(error),
        }
    }
    (!images.is_empty()).then_some(images)
}

/// The series' name as a folder's name: without separators, and with a number behind it where two are called the same. Names that
/// differ only in case would be one folder on some systems.
fn unique_name(name: &str, taken: &mut HashSet<String>) -> String {
    let is_reserved = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    let clean: String = name.chars().map(|c| if is_reserved(c) { '_' } else { c }).collect();
    let clean = if matches!(clean.as_str(), "" | "." | "..") { "series".to_string() } else { clean };
    let mut unique = clean.clone();
    let mut number = 2;
    while !taken.insert(unique.to_lowercase()) {
        unique = format!("{clean}-{number}");
        number += 1;
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_series_make_folders_and_stay_apart() {
        let mut taken = HashSet::new();
        let mut name = |name: &str| unique_name(name, &mut taken);
        assert_eq!(
            [name("a/b"), name("Litter"), name("litter"), name(".."), name("litter")].map(|n| n),
            ["a_b", "Litter", "litter-2", "series", "litter-3"]
        );
    }
}
