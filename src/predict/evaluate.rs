//! Evaluation: the models' objects against the annotations.

use super::CHUNK;
use super::ensemble::{Ensemble, Settings, hex};
use crate::dataset::splits::Part;
use crate::dataset::{Dataset, Loaded, Sample};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::metrics::{Evaluation, ImageCounts, SeriesEvaluation, evaluate, image_counts};
use crate::segment::OperatingPoint;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Request {
    /// Run directories of one organ.
    pub models: Vec<PathBuf>,
    pub data: PathBuf,
    /// Of the run's own data: the test or the validation series.
    pub part: Part,
    pub settings: Settings,
}

/// The answer, as `evaluate --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub organ: String,
    pub models: Vec<String>,
    /// `test` or `val` of the run's own data, `all` on other data.
    pub split: &'static str,
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Whether mirror images were averaged over.
    pub flips: bool,
    #[serde(flatten)]
    pub point: OperatingPoint,
    pub series: Vec<SeriesEvaluation>,
    /// Annotated series that came to the run's own data after its split was written: no part of the answer.
    pub series_not_in_split: Vec<String>,
}

/// A report, with what went wrong beside it.
#[derive(Debug)]
pub struct Outcome {
    pub report: Report,
    /// Of each sub-image that was evaluated.
    pub counts: Vec<ImageCounts>,
    /// Pictures and annotations that could not be read.
    pub left_out: Vec<Error>,
    pub warnings: Vec<String>,
}

/// Evaluates. `progress` hears how many of how many sub-images are done.
///
/// # Errors
/// If the models are of several organs, if the data cannot be read or hold no such organ, or if a picture was trained on.
pub fn run(request: &Request, mut progress: impl FnMut(usize, usize)) -> Result<Outcome> {
    let mut ensemble = Ensemble::open(&request.models, &request.settings)?;
    let Loaded { samples, broken, mut warnings } = Dataset::open(&request.data)?.samples(&ensemble.organ)?;
    let Chosen { samples: chosen, split } = choose(&ensemble, &samples, request.part, &request.data)?;
    ensemble.refuse_seen(&chosen, split == "val")?;
    if split != "val" {
        ensemble.refuse_chosen_on(&chosen)?;
    }
    let mut counts = Vec::with_capacity(chosen.len());
    for chunk in chosen.chunks(CHUNK) {
        let images: Vec<&Gray> = chunk.iter().map(|sample| &sample.image).collect();
        let before = counts.len();
        let objects = ensemble.objects(&images, |done| progress(before + done, chosen.len()))?;
        counts.extend(chunk.iter().zip(&objects).map(|(sample, found)| image_counts(sample, &found.accepted)));
    }
    let report = Report {
        organ: ensemble.organ.clone(),
        models: ensemble.models.iter().map(|m| m.name.clone()).collect(),
        split,
        evaluation: evaluate(&counts),
        flips: ensemble.has_flips(),
        point: ensemble.point,
        series: by_series(&chosen, &counts),
        series_not_in_split: if split == "all" { Vec::new() } else { not_in_split(&ensemble, &samples) },
    };
    warnings.extend(ensemble.advice(&request.settings));
    if split == "all" && request.part == Part::Val {
        warnings
            .push("these are not the series that the model was trained with: all are evaluated, not a validation part".into());
    }
    Ok(Outcome { report, counts, left_out: broken, warnings })
}

/// Samples that models may be judged on.
pub(super) struct Chosen<'a> {
    pub samples: Vec<&'a Sample>,
    /// `test` or `val` of the first model's own data, or `all`.
    pub split: &'static str,
}

/// The samples to judge on: `part` of the split if these are the first model's own data, else all.
///
/// They are its own when it was trained on any of them under the series' name of its split: series of other data may be called the
/// same, and renamed ones are refused as seen. Series that were added since are in no part of the split.
///
/// # Errors
/// If there are none; names `data`.
pub(super) fn choose<'a>(ensemble: &Ensemble, samples: &'a [Sample], part: Part, data: &Path) -> Result<Chosen<'a>> {
    let splits = &ensemble.models[0].splits;
    let seen: HashSet<&str> = splits.seen.iter().map(String::as_str).collect();
    let is_known =
        |s: &Sample| splits.part_of(s).is_some_and(|part| part != Part::Test) && seen.contains(hex(&s.digest).as_str());
    let is_own = samples.iter().any(is_known);
    let (chosen, split): (Vec<&Sample>, _) = if is_own {
        let name = if part == Part::Val { "val" } else { "test" };
        (samples.iter().filter(|s| splits.part_of(s) == Some(part)).collect(), name)
    } else {
        (samples.iter().collect(), "all")
    };
    if chosen.is_empty() && is_own {
        let text = format!("the series here were used to train this model, and none is in its {split} series");
        return Err(Error::new(ErrorKind::Data, text)
            .at(data)
            .remedy("evaluate on series that the model has not seen; splits.json of the run names its test series"));
    }
    if chosen.is_empty() {
        return Err(Error::new(
            ErrorKind::Data,
            format!("no sub-image annotated for {} is in the {split} series", ensemble.organ),
        )
        .at(data)
        .remedy("`unet-engine inspect` shows what is annotated; splits.json of the run says which series are its test series"));
    }
    Ok(Chosen { samples: chosen, split })
}

/// The series of `samples` that the first model's split does not name.
fn not_in_split(ensemble: &Ensemble, samples: &[Sample]) -> Vec<String> {
    let splits = &ensemble.models[0].splits;
    let unknown: BTreeSet<&String> = samples.iter().filter(|s| splits.part_of(s).is_none()).map(|s| &s.series).collect();
    unknown.into_iter().cloned().collect()
}

fn by_series(samples: &[&Sample], counts: &[ImageCounts]) -> Vec<SeriesEvaluation> {
    let mut by_series: BTreeMap<&str, Vec<ImageCounts>> = BTreeMap::new();
    for (sample, counts) in samples.iter().zip(counts) {
        by_series.entry(&sample.series).or_default().push(*counts);
    }
    by_series
        .into_iter()
        .map(|(series, counts)| SeriesEvaluation { series: series.to_string(), evaluation: evaluate(&counts) })
        .collect()
}
