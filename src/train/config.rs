//! The configuration of a training: command line over TOML file over defaults.
//!
//! [`Options`] is what a user may give, by the same names on the command line and in the file; [`Config`] is what came of it, with
//! every value in place. A run's `config.toml` is a `Config`, and can be given to `--config` again.

mod options;
mod recipe;

pub use options::{Instances, Options, required};
pub use recipe::say_default;

use crate::augment::AugmentConfig;
use crate::backend::{self, Device};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Arch, MAX_BATCH, NetworkSpec};
use crate::ops::assign::{Assignment, MAX_CHANNELS};
use crate::ops::dice_bce::LossParameters;
use crate::plan::Precision;
use recipe::{Recipe, default_arch, default_size};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Upper limits that keep sizes and counts far from overflow.
const SIDE_MAX: usize = 16_384;
pub(super) const EPOCHS_MAX: usize = 1_000_000;
const THREADS_MAX: usize = 1024;
/// Output channels with `--instances auto`: what measured better (docs/accuracy.md).
const AUTO_INSTANCES: usize = 1;

/// A recipe: defaults for everything that is not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The published recipe: Adam at 1e-4, reduced on a plateau, early stopping, then fine-tuning at 1e-5.
    #[default]
    Report,
    /// A small network, a high learning rate, a few epochs: for trials and the demo.
    Quick,
}

/// How the learning rate changes from epoch to epoch (never in fine-tuning).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Down to a tenth whenever the validation loss no longer improves.
    #[default]
    Plateau,
    /// Along half a cosine to nearly nothing in the last epoch: for a known, small number of epochs.
    Cosine,
}

/// What is kept together when the data is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// Whole series (litters): the honest way.
    #[default]
    Series,
    /// Single sub-images, for fewer than 3 series.
    Image,
}

/// A wish for the numbers of the computation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// What suits the device: mixed on a GPU, bf16 on a CPU with AMX, else f32.
    #[default]
    Auto,
    /// f32 throughout.
    F32,
    /// Images and weights as f16 for tensor cores; everything that is summed up or kept as f32. On a CUDA device only.
    Mixed,
    /// Images as bf16, weights rounded to it where they are multiplied. On the CPU only; fast where the CPU has AMX.
    Bf16,
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => PrecisionChoice::F32,
            Precision::Mixed => PrecisionChoice::Mixed,
            Precision::Bf16 => PrecisionChoice::Bf16,
        }
    }
}

/// The precision that a wish comes to on the device called `device`.
///
/// # Errors
/// If there is no such device, or it cannot compute so.
pub fn precision(device: &str, choice: Option<PrecisionChoice>) -> Result<Precision> {
    let precision = match choice.unwrap_or_default() {
        PrecisionChoice::Auto => backend::default_precision(device)?,
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Mixed => Precision::Mixed,
        PrecisionChoice::Bf16 => Precision::Bf16,
    };
    backend::check_precision(device, precision)?;
    Ok(precision)
}

/// What the defaults depend on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Median over the sub-images of the longer side, in pixels.
    pub median_side: usize,
    /// Number of training images.
    pub n_train: usize,
}

/// A training's configuration with every value in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    pub data: PathBuf,
    pub organ: String,
    pub arch: Arch,
    pub preset: Preset,
    pub init: Option<PathBuf>,
    pub device: String,
    pub seed: u64,
    pub base: usize,
    pub levels: usize,
    pub size: usize,
    pub batch: usize,
    pub epochs: usize,
    pub fine_tune_epochs: usize,
    pub lr: f64,
    pub schedule: Schedule,
    pub fine_tune_lr: f64,
    pub plateau_patience: usize,
    pub stop_patience: usize,
    pub alpha: f32,
    pub class_weight: f32,
    pub focal_gamma: f32,
    pub instances: usize,
    /// How instances get their channels; without meaning where there is one.
    #[serde(default)]
    pub assignment: Assignment,
    pub min_precision: Option<f64>,
    #[serde(default)]
    pub test_series: Vec<String>,
    #[serde(default)]
    pub val_series: Vec<String>,
    pub split_by: SplitBy,
    pub threads: usize,
    pub precision: Precision,
    pub no_augment: bool,
    pub augment: Option<AugmentConfig>,
}

impl Config {
    /// Fills in the defaults and checks every value.
    ///
    /// # Errors
    /// If an option is missing or out of its range.
    pub fn resolve(options: &Options, facts: Facts) -> Result<Config> {
        let (data, organ) = required(options)?;
        // A run may be resumed from another folder.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let data = absolute(data);
        let preset = options.preset.unwrap_or_default();
        let arch = options.arch.unwrap_or_else(|| default_arch(&organ));
        let levels = options.levels.unwrap_or_else(|| NetworkSpec::default_levels(arch));
        let no_augment = options.no_augment.unwrap_or(false);
        let device = options.device.clone().unwrap_or_else(|| "auto".into());
        let precision = precision(&device, options.precision)?;
        let recipe = Recipe::of(preset, &device.parse::<Device>()?.resolve()?);
        let config = Config {
            data,
            organ,
            arch,
            preset,
            init: options.init.clone().map(absolute),
            device,
            seed: options.seed.unwrap_or(0),
            base: options.base.unwrap_or(recipe.base),
            levels,
            size: options.size.unwrap_or_else(|| default_size(facts.median_side, levels, recipe.size_max)),
            batch: options.batch.unwrap_or(recipe.batch.min(facts.n_train.max(1))),
            epochs: options.epochs.unwrap_or(recipe.epochs),
            fine_tune_epochs: options.fine_tune_epochs.unwrap_or(recipe.fine_tune_epochs),
            lr: options.lr.unwrap_or(recipe.lr),
            schedule: options.schedule.unwrap_or(recipe.schedule),
            fine_tune_lr: options.fine_tune_lr.unwrap_or(recipe.fine_tune_lr),
            plateau_patience: options.plateau_patience.unwrap_or(recipe.plateau_patience),
            stop_patience: options.stop_patience.unwrap_or(recipe.stop_patience),
            alpha: options.alpha.unwrap_or(recipe.alpha),
            class_weight: options.class_weight.unwrap_or(recipe.class_weight),
            focal_gamma: options.focal_gamma.unwrap_or(recipe.focal_gamma),
            instances: match options.instances {
                None | Some(Instances::Auto) => AUTO_INSTANCES,
                Some(Instances::Count(count)) => count,
            },
            assignment: options.assignment.unwrap_or_default(),
            min_precision: options.min_precision,
            test_series: options.test_series.clone().unwrap_or_default(),
            val_series: options.val_series.clone().unwrap_or_default(),
            split_by: options.split_by.unwrap_or_default(),
            threads: options.threads.unwrap_or(0),
            precision,
            no_augment,
            augment: (!no_augment).then(|| options.augment.clone().unwrap_or_default()),
        };
        config.check()?;
        if config.batch > facts.n_train.max(1) {
            return Err(Error::usage(format!("--batch {}: there are only {} training images", config.batch, facts.n_train)));
        }
        Ok(config)
    }

    /// The network.
    pub fn network(&self) -> NetworkSpec {
        let (arch, base, levels) = (self.arch, self.base, self.levels);
        NetworkSpec { arch, base, levels, channels_in: 1, channels_out: self.instances }
    }

    /// The numbers of the loss.
    pub fn loss(&self) -> LossParameters {
        let (alpha, class_weight, focal_gamma) = (self.alpha, self.class_weight, self.focal_gamma);
        LossParameters { alpha, smooth: 1.0, class_weight, focal_gamma }
    }

    /// As the text of `config.toml`.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::usage("the configuration cannot be written as TOML").caused_by(e))
    }

    /// Reads a run's `config.toml`.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::io(ErrorKind::Data, path, "read the configuration of the run", e))?;
        let foreign = || Error::data(path, "not a configuration that `train` wrote");
        let config: Config = toml::from_str(&text).map_err(|e| foreign().caused_by(e))?;
        config.check().map_err(|e| foreign().caused_by(e))?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let size = format!("a multiple of {} (2^levels) from {0} to {SIDE_MAX}", 1usize << self.levels.min(16));
        let is_size = self.levels <= 16 && (1..=SIDE_MAX).contains(&self.size) && self.size.is_multiple_of(1 << self.levels);
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let checks = [
            ("base", (1..=1024).contains(&self.base), "a number from 1 to 1024", self.base.to_string()),
            ("levels", (1..=8).contains(&self.levels), "a number from 1 to 8", self.levels.to_string()),
            ("size", is_size, size.as_str(), self.size.to_string()),
            ("batch", (1..=MAX_BATCH).contains(&self.batch), "a number from 1 to 4096", self.batch.to_string()),
            ("threads", self.threads <= THREADS_MAX, "at most 1024", self.threads.to_string()),
            ("epochs", (1..=EPOCHS_MAX).contains(&self.epochs), "a number from 1 to 1000000", self.epochs.to_string()),
            ("fine-tune-epochs", self.fine_tune_epochs <= EPOCHS_MAX, "at most 1000000", self.fine_tune_epochs.to_string()),
            ("seed", i64::try_from(self.seed).is_ok(), "a number below 2^63", self.seed.to_string()),
            ("lr", positive(self.lr), "a positive number", self.lr.to_string()),
            ("fine-tune-lr", positive(self.fine_tune_lr), "a positive number", self.fine_tune_lr.to_string()),
            ("stop-patience", self.stop_patience >= 1, "at least 1", self.stop_patience.to_string()),
            ("alpha", (0.0..=1.0).contains(&self.alpha), "a number from 0 to 1", self.alpha.to_string()),
            ("class-weight", positive(self.class_weight.into()), "a positive number", self.class_weight.to_string()),
            ("focal-gamma", (0.0..=10.0).contains(&self.focal_gamma), "a number from 0 to 10", self.focal_gamma.to_string()),
        ];
        for (name, is_legal, expected, found) in checks {
            if !is_legal {
                return Err(Error::usage(format!("--{name}: expected {expected}, found {found}")));
            }
        }
        if let Some(p) = self.min_precision.filter(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::usage(format!("--min-precision: expected a number from 0 to 1, found {p}")));
        }
        if !(1..=MAX_CHANNELS).contains(&self.instances) {
            return Err(Error::usage(format!("--instances: expected auto or 1 to {MAX_CHANNELS}, found {}", self.instances))
                .remedy("use as many as the organ has instances in one sub-image; 1 takes connected components as instances"));
        }
        self.network().check()?;
        self.augment.as_ref().map_or(Ok(()), AugmentConfig::validate)
    }
}

#[cfg(test)]
mod tests;
