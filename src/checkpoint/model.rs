//! A run directory as a model.

use super::file::{self, Checkpoint, Tensor};
use crate::augment::Normalization;
use crate::dataset::splits::Splits;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::calibration::Calibration;
use crate::model::{MAX_SIZE, NetworkSpec};
use crate::plan::Precision;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a checkpoint says of its network: with the weights, enough to predict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub network: NetworkSpec,
    /// The network's input, in pixels; sub-images are letterboxed into it.
    pub size: [usize; 2],
    pub organ: String,
    pub normalization: Normalization,
}

/// `calibration.json`: what was chosen, and the precision in which the network's answers were computed for that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFile {
    #[serde(flatten)]
    pub calibration: Calibration,
    /// f32 in files of older versions.
    #[serde(default)]
    pub precision: Precision,
}

impl Description {
    /// Checks that pictures can enter such a network; a file may say anything.
    ///
    /// # Errors
    /// If they cannot.
    fn check(&self, path: &Path) -> Result<()> {
        let multiple = check_network(&self.network, path)?;
        let is_size = |side: &usize| (1..=MAX_SIZE).contains(side) && side.is_multiple_of(multiple);
        if !self.size.iter().all(is_size) {
            let expected = format!("expected an input of multiples of {multiple} up to {MAX_SIZE} pixels");
            return Err(Error::data(path, format!("{expected}, found {} x {}", self.size[0], self.size[1])));
        }
        let Normalization { mean, deviation } = self.normalization;
        // Stretched intensities lie in 0 to 1.
        if mean.abs() <= 1.0 && (NORMAL_DEVIATION_MIN..=1.0).contains(&deviation) {
            return Ok(());
        }
        Err(Error::data(path, format!("expected intensities of 0 to 1, found a mean of {mean} and a deviation of {deviation}")))
    }
}

/// A training never writes a smaller deviation; dividing by it would overflow.
const NORMAL_DEVIATION_MIN: f32 = 1e-5;

/// Checks a network that a file describes; returns what its input must be a multiple of.
fn check_network(network: &NetworkSpec, path: &Path) -> Result<usize> {
    let checked = network.check().and(match network.channels_in {
        1 => Ok(()),
        n => Err(Error::usage(format!("expected a network for grey pictures, found {n} input channels"))),
    });
    checked.map_err(|e| Error::data(path, "not a network that `train` made").caused_by(e))?;
    Ok(network.size_multiple())
}

/// A trained model with all that prediction and evaluation need.
#[derive(Clone, Debug)]
pub struct Model {
    /// The run directory's name.
    pub name: String,
    /// The run directory.
    pub path: PathBuf,
    pub spec: NetworkSpec,
    /// The network's input, in pixels.
    pub size: [usize; 2],
    pub organ: String,
    pub normalization: Normalization,
    /// In which its threshold was chosen.
    pub precision: Precision,
    /// Threshold and smallest object, chosen on the validation series.
    pub calibration: Calibration,
    pub splits: Splits,
    /// SHA-256 of its weights' file, in hexadecimal: what tells models of one name apart.
    pub checksum: String,
    /// Parameters and running statistics of the best epoch, by their names in [`NetworkSpec::parameters`], in the layouts given there.
    pub weights: BTreeMap<String, Vec<f32>>,
}

impl Model {
    /// Opens a run directory whose training is finished.
    ///
    /// # Errors
    /// If it is no run directory, if its training is not finished, or if a file is damaged.
    pub fn open(run_dir: &Path) -> Result<Model> {
        let files = RunFiles::new(run_dir);
        let checkpoint = open_best(run_dir)?;
        checkpoint.description.check(&files.checkpoint("best"))?;
        let CalibrationFile { calibration, precision } =
            read_json(&files.calibration(), "the training of this run is not finished")?;
        calibration.check().map_err(|e| e.at(files.calibration()))?;
        let splits = read_json(&files.splits(), "this is no complete run directory")?;
        let Description { network, size, organ, normalization } = checkpoint.description;
        let weights = weights_of(&network, checkpoint.tensors, &files.checkpoint("best"))?;
        let (name, path) = (run_name(run_dir), run_dir.to_path_buf());
        let checksum = file::stored_checksum(&files.checkpoint("best"))?;
        Ok(Model { name, path, spec: network, size, organ, normalization, precision, calibration, splits, checksum, weights })
    }
}

/// The best checkpoint of a run, finished or not.
///
/// # Errors
/// If there is none or it is damaged.
pub fn open_best(run_dir: &Path) -> Result<Checkpoint> {
    let path = RunFiles::new(run_dir).checkpoint("best");
    if !path.is_file() {
        let found = if run_dir.is_dir() { "there is no checkpoints/best.safetensors in it" } else { "there is no such folder" };
        return Err(Error::data(run_dir, format!("expected a run directory with a trained model; {found}"))
            .remedy(where_models_are(run_dir)));
    }
    file::read(&path)
}

/// What to give in place of a folder that is no run: the models inside it, where there are any.
fn where_models_are(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut inside: Vec<PathBuf> = entries.filter(|path| RunFiles::new(path).checkpoint("best").is_file()).collect();
    inside.sort();
    match &inside[..] {
        [] => "give the folder that `train` wrote (--out); a run that was interrupted goes on with `train --resume`".into(),
        [only] => format!("give the model inside it: {}", only.display()),
        [first, .., last] => {
            format!("give one of the {} models inside it: {} to {}", inside.len(), first.display(), last.display())
        }
    }
}

/// The parameters and running statistics of `network` among `tensors`.
///
/// # Errors
/// If there is no such network, or if a parameter is missing or has another shape.
pub fn weights_of(
    network: &NetworkSpec,
    mut tensors: BTreeMap<String, Tensor>,
    path: &Path,
) -> Result<BTreeMap<String, Vec<f32>>> {
    check_network(network, path)?;
    let take = |p: crate::model::Parameter| match tensors.remove(&p.name) {
        Some(tensor) if tensor.shape == p.shape => Ok((p.name, tensor.data)),
        Some(tensor) => Err(Error::data(path, format!("{}: expected shape {:?}, found {:?}", p.name, p.shape, tensor.shape))),
        None => Err(Error::data(path, format!("the parameter {} is missing", p.name))),
    };
    network.parameters().into_iter().map(take).collect()
}

/// The name of a run: its folder's name.
pub fn run_name(run_dir: &Path) -> String {
    let absolute = std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.to_path_buf());
    absolute.file_name().map_or_else(|| "run".to_string(), |name| name.to_string_lossy().into_owned())
}

fn read_json<T: DeserializeOwned>(path: &Path, if_missing: &str) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::io(ErrorKind::Data, path, &format!("read the file ({if_missing})"), e)
            .remedy("let `train --resume` finish the run, or give another run directory")
    })?;
    serde_json::from_str(&text)
        .map_err(|e| Error::data(path, "not the JSON that `train` writes").caused_by(e).remedy(file::RESTORE))
}

/// Where the files of a run lie.
#[derive(Clone, Debug)]
pub struct RunFiles {
    root: PathBuf,
}

impl RunFiles {
    pub fn new(run_dir: &Path) -> Self {
        RunFiles { root: run_dir.to_path_buf() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    pub fn splits(&self) -> PathBuf {
        self.root.join("splits.json")
    }

    /// A line of JSON per epoch.
    pub fn log(&self) -> PathBuf {
        self.root.join("train.jsonl")
    }

    /// The operating point; written when the training is finished.
    pub fn calibration(&self) -> PathBuf {
        self.root.join("calibration.json")
    }

    /// The report, the last file of a finished training.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The curves over the epochs.
    pub fn curves(&self) -> PathBuf {
        self.root.join("curves.png")
    }

    pub fn environment(&self) -> PathBuf {
        self.root.join("environment.json")
    }

    /// Locked by the process that trains.
    pub fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The checkpoint called `last`, `best` or `previous`.
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        self.checkpoints().join(format!("{name}.safetensors"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of before there was a choice.
    #[test]
    fn a_calibration_without_precision_is_of_f32() {
        let point = serde_json::json!({"threshold": 0.5, "min_area": 1, "opening": 0, "closing": 0, "fill_holes": true});
        let mut file = serde_json::json!({"point": point, "f_half": null, "pixel_precision": null, "object_precision": null,
            "min_precision": null, "reached": true, "review": null, "curve": []});
        let read = |file: &serde_json::Value| serde_json::from_value::<CalibrationFile>(file.clone()).unwrap().precision;
        assert_eq!(read(&file), Precision::F32);
        file["precision"] = "bf16".into();
        assert_eq!(read(&file), Precision::Bf16);
    }
}
