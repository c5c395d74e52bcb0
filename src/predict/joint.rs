//! An operating point for models as they are used together, chosen on annotated series: `calibrate` writes it, `predict` and
//! `evaluate` read it.
//!
//! Each model has a threshold of its own from its training. The mean of several models' probabilities is less extreme than each, so
//! the mean of their thresholds is stricter than any of them; the same holds for the mean over mirror images.

use super::CHUNK;
use super::ensemble::{Ensemble, Settings, hex};
use super::evaluate::{Chosen, choose};
use crate::atomic_file;
use crate::checkpoint::Model;
use crate::dataset::splits::Part;
use crate::dataset::{Dataset, Loaded};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::metrics::calibrate::{Prediction, calibrate};
use crate::metrics::calibration::Calibration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What `calibrate` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointCalibration {
    pub organ: String,
    pub models: Vec<Member>,
    /// Whether each picture's mirror images are averaged over.
    pub flips: bool,
    /// The series on which it was chosen.
    pub series: Vec<String>,
    /// Their sub-images.
    pub images: usize,
    /// Hexadecimal digests of these (without those of one intensity): `evaluate` refuses to judge on them.
    pub seen: Vec<String>,
    pub calibration: Calibration,
}

/// A model that was judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// SHA-256 of its weights' file.
    pub checksum: String,
    /// The run directory's name, for the reader.
    pub name: String,
}

/// What to judge.
#[derive(Clone, Debug)]
pub struct Request {
    /// Run directories of one organ.
    pub models: Vec<PathBuf>,
    pub data: PathBuf,
    pub flips: bool,
    pub min_precision: Option<f64>,
    /// The file to write.
    pub out: PathBuf,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: as many as cores.
    pub threads: usize,
}

/// The file's content, with what went wrong beside it.
#[derive(Debug)]
pub struct Outcome {
    pub joint: JointCalibration,
    /// Pictures and annotations that could not be read.
    pub left_out: Vec<Error>,
    pub warnings: Vec<String>,
}

/// Chooses the operating point on the first model's validation series, or on all series of other data, and writes the file. `progress`
/// hears how many of how many sub-images are done.
///
/// # Errors
/// If the models are of several organs, if the data cannot be read or hold no such organ, if a model was trained on a picture, or if
/// the file cannot be written.
pub fn run(request: &Request, mut progress: impl FnMut(usize, usize)) -> Result<Outcome> {
    check_out(&request.out)?;
    let settings = Settings { flips: request.flips, ..Settings::of_models(&request.device, request.threads) };
    let mut ensemble = Ensemble::open(&request.models, &settings)?;
    refuse_twins(&ensemble.models)?;
    let Loaded { samples, broken, warnings } = Dataset::open(&request.data)?.samples(&ensemble.organ)?;
    let Chosen { samples: chosen, split } = choose(&ensemble, &samples, Part::Val, &request.data)?;
    ensemble.refuse_seen(&chosen, split == "val")?;
    if chosen.iter().all(|sample| sample.instances.is_empty()) {
        let series = if split == "all" { "these series" } else { "the validation series" };
        let text = format!("expected an annotated {} to choose a threshold on, found none in {series}", ensemble.organ);
        return Err(Error::data(&request.data, text).remedy("give data in which the organ is visible and annotated"));
    }
    let mut predictions: Vec<Prediction<'_>> = Vec::with_capacity(chosen.len());
    for chunk in chosen.chunks(CHUNK) {
        let images: Vec<&Gray> = chunk.iter().map(|sample| &sample.image).collect();
        let before = predictions.len();
        let combined = ensemble.combined(&images, |done| progress(before + done, chosen.len()))?;
        let judged = chunk.iter().zip(combined);
        predictions.extend(judged.map(|(sample, c)| Prediction { sample, probability: c.union, channels: c.channels }));
    }
    let series: BTreeSet<&String> = chosen.iter().map(|sample| &sample.series).collect();
    let seen: BTreeSet<String> = chosen.iter().filter(|sample| !sample.is_blank()).map(|sample| hex(&sample.digest)).collect();
    let joint = JointCalibration {
        organ: ensemble.organ.clone(),
        models: members(&ensemble.models),
        flips: request.flips,
        series: series.into_iter().cloned().collect(),
        seen: seen.into_iter().collect(),
        images: chosen.len(),
        calibration: calibrate(&predictions, request.min_precision),
    };
    joint.write(&request.out)?;
    Ok(Outcome { joint, left_out: broken, warnings })
}

/// Refuses, before anything is computed, a file that could not be written or that is something else.
fn check_out(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("there is no folder {} to write it to", folder.display());
        return Err(Error::new(ErrorKind::Usage, message).at(path).remedy("make the folder, or give another --out"));
    }
    if path.exists() && JointCalibration::read(path).is_err() {
        return Err(Error::usage("--out exists and is not a file that `calibrate` wrote").at(path).remedy("give another --out"));
    }
    Ok(())
}

/// A model twice would count twice.
fn refuse_twins(models: &[Model]) -> Result<()> {
    let mut checksums = BTreeSet::new();
    match models.iter().find(|model| !checksums.insert(&model.checksum)) {
        None => Ok(()),
        Some(twin) => Err(Error::usage("this model is given twice").at(&twin.path).remedy("give each model once")),
    }
}

impl JointCalibration {
    fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::run("cannot write JSON").caused_by(e))?;
        text.push(b'\n');
        atomic_file::write(path, &text)
    }

    /// Reads a file that `calibrate` wrote.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn read(path: &Path) -> Result<JointCalibration> {
        let text = std::fs::read(path).map_err(|e| Error::io(ErrorKind::Data, path, "read the calibration", e))?;
        let remedy = "give a file that `unet-engine calibrate` wrote; a model's own calibration.json is used without being named";
        let joint: JointCalibration = serde_json::from_slice(&text)
            .map_err(|e| Error::data(path, "not the JSON that `calibrate` writes").caused_by(e).remedy(remedy))?;
        joint.calibration.check().map_err(|e| e.at(path).remedy(remedy))?;
        Ok(joint)
    }

    /// Reads `paths`, by organ, for the models that are used now.
    ///
    /// # Errors
    /// If a file is damaged, or was written for other models or without the flips that are asked for.
    pub(super) fn read_all(
        paths: &[PathBuf],
        models: &BTreeMap<String, Vec<Model>>,
        flips: bool,
    ) -> Result<BTreeMap<String, JointCalibration>> {
        let mut by_organ = BTreeMap::new();
        for path in paths {
            let joint = JointCalibration::read(path)?;
            joint.check(models.get(&joint.organ).map_or(&[][..], Vec::as_slice), flips).map_err(|e| e.at(path))?;
            if let Some(other) = by_organ.insert(joint.organ.clone(), joint) {
                return Err(Error::usage(format!("expected one calibration for {}, found two", other.organ))
                    .at(path)
                    .remedy("give one --calibration an organ"));
            }
        }
        Ok(by_organ)
    }

    fn check(&self, models: &[Model], flips: bool) -> Result<()> {
        let names = |members: &[Member]| members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
        let (found, mut judged) = (members(models), self.models.clone());
        judged.sort();
        if !found.iter().map(|m| &m.checksum).eq(judged.iter().map(|m| &m.checksum)) {
            let given = if found.is_empty() { "none of this organ".to_string() } else { names(&found) };
            let text = format!("made for the {} models {}, as they were then; given are {given}", self.organ, names(&judged));
            return Err(Error::usage(text).remedy("give exactly these models, or run `unet-engine calibrate` for those you give"));
        }
        if flips && !self.flips {
            return Err(
                Error::usage("made without --flips, which was given").remedy("leave --flips out, or run `calibrate` with it")
            );
        }
        Ok(())
    }
}

/// The models in an order that does not depend on how they were given.
fn members(models: &[Model]) -> Vec<Member> {
    let mut members: Vec<Member> = models.iter().map(|m| Member { checksum: m.checksum.clone(), name: m.name.clone() }).collect();
    members.sort();
    members
}
