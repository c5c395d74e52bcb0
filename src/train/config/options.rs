//! What a user may give: the same names on the command line and in the file.

use super::{PrecisionChoice, Preset, Schedule, SplitBy};
use crate::augment::AugmentConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Arch;
use crate::ops::assign::Assignment;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::Table;

/// What a user may give; everything else has a default ([`super::say_default`] adds the recipes' to the help).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Folder with annotated series.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Organ to train for: heart, liver, placenta, or any other name in the data; all of them one after another: all.
    #[arg(long, value_name = "NAME")]
    pub organ: Option<String>,
    /// Network [default: heart standard, liver deep, placenta residual, others standard].
    #[arg(long, value_enum)]
    pub arch: Option<Arch>,
    /// Recipe [default: report].
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Start from these weights (safetensors under PyTorch's names, as `export` writes them).
    #[arg(long, value_name = "WEIGHTS")]
    pub init: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N [default: auto].
    #[arg(long)]
    pub device: Option<String>,
    /// Seed of all random numbers [default: 0].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Channels of the network's first level.
    #[arg(long, value_name = "N")]
    pub base: Option<usize>,
    /// Number of poolings [default: standard and residual 4, deep 5].
    #[arg(long, value_name = "N")]
    pub levels: Option<usize>,
    /// Side of the network's input in pixels; by itself what holds the median sub-image.
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
    /// Images per step.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Epochs at most.
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Epochs of fine-tuning at most.
    #[arg(long, value_name = "N")]
    pub fine_tune_epochs: Option<usize>,
    /// Learning rate.
    #[arg(long)]
    pub lr: Option<f64>,
    /// How the learning rate changes.
    #[arg(long, value_enum)]
    pub schedule: Option<Schedule>,
    /// Learning rate of the fine-tuning.
    #[arg(long, value_name = "LR")]
    pub fine_tune_lr: Option<f64>,
    /// Epochs without improvement after which the learning rate falls to a tenth.
    #[arg(long, value_name = "N")]
    pub plateau_patience: Option<usize>,
    /// Epochs without improvement after which training stops.
    #[arg(long, value_name = "N")]
    pub stop_patience: Option<usize>,
    /// Weight of Dice against cross-entropy in the loss, 0 to 1.
    #[arg(long)]
    pub alpha: Option<f32>,
    /// Weight of the organ's pixels in the cross-entropy; above 1 finds more, below 1 errs less.
    #[arg(long, value_name = "WEIGHT")]
    pub class_weight: Option<f32>,
    /// Exponent of the focal loss; 0 switches it off.
    #[arg(long, value_name = "GAMMA")]
    pub focal_gamma: Option<f32>,
    /// Output channels, each a potential instance: auto or 1 to 8. With 1 (auto, today) instances are connected components; with more,
    /// instances that touch can be told apart [default: auto].
    #[arg(long, value_name = "auto|K")]
    pub instances: Option<Instances>,
    /// How a training image's instances get their channels, where there are several [default: least-cost].
    #[arg(long, value_enum)]
    pub assignment: Option<Assignment>,
    /// Precision that the threshold has to reach on the validation series, 0 to 1.
    #[arg(long, value_name = "P")]
    pub min_precision: Option<f64>,
    /// Series for the test set, separated by commas [default: a fifth, by seed].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub test_series: Option<Vec<String>>,
    /// Series for the validation set, separated by commas [default: a fifth of the rest, by seed].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub val_series: Option<Vec<String>>,
    /// Keep whole series together, or single images [default: series].
    #[arg(long, value_enum)]
    pub split_by: Option<SplitBy>,
    /// Threads; 0 takes all cores. The results do not depend on it [default: 0].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Numbers of the computation: f32; mixed (f16 for tensor cores, f32 for what is kept; on a CUDA device); or bf16 (likewise, on a
    /// CPU; slow without AMX). By itself mixed on a CUDA device, bf16 on a CPU with AMX, else f32 [default: auto].
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionChoice>,
    /// Train on the images as they are.
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub no_augment: Option<bool>,
    /// Ranges of the augmentation; in the file only.
    #[arg(skip)]
    pub augment: Option<AugmentConfig>,
}

/// `auto`, or a number of output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub enum Instances {
    Auto,
    Count(usize),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(usize),
    Text(String),
}

impl TryFrom<NumberOrText> for Instances {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(count) => Ok(Instances::Count(count)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl From<Instances> for String {
    fn from(instances: Instances) -> String {
        match instances {
            Instances::Auto => "auto".into(),
            Instances::Count(count) => count.to_string(),
        }
    }
}

impl std::str::FromStr for Instances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Instances::Auto),
            number => number.parse().map(Instances::Count).map_err(|_| "expected auto or a number".to_string()),
        }
    }
}

impl Options {
    /// These options over those of a TOML file.
    ///
    /// # Errors
    /// If the file cannot be read, is no TOML, or holds an unknown key or a wrong value.
    pub fn over_file(&self, path: &Path) -> Result<Options> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(ErrorKind::Usage, path, "read the configuration", e))?;
        let mut table = parse_table(path, &text)?;
        table.extend(self.to_table()?);
        table.try_into().map_err(|e| wrong_value(path, e))
    }

    /// The given options by their names.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_table(&self) -> Result<Table> {
        Table::try_from(self).map_err(|e| Error::usage("an option cannot be written as TOML").caused_by(e))
    }
}

fn parse_table(path: &Path, text: &str) -> Result<Table> {
    let table: Table = text.parse().map_err(|e| wrong_value(path, e))?;
    let known = known_keys();
    let mut named = Table::new();
    for (key, value) in table {
        // Underscores are as good as hyphens here.
        let name = key.replace('_', "-");
        if !known.contains(&name) {
            return Err(unknown_key(path, &key, &known));
        }
        named.insert(name, value);
    }
    if let Some(toml::Value::Table(augment)) = named.get("augment") {
        let defaults = Table::try_from(AugmentConfig::default()).unwrap_or_default();
        let known: Vec<String> = defaults.keys().cloned().collect();
        if let Some(key) = augment.keys().find(|key| !known.contains(key)) {
            return Err(unknown_key(path, &format!("augment.{key}"), &known));
        }
    }
    Ok(named)
}

/// The names of all options, which are the keys of the file.
fn known_keys() -> Vec<String> {
    let command = <Options as clap::Args>::augment_args(clap::Command::new("train"));
    let mut names: Vec<String> = command.get_arguments().filter_map(|a| a.get_long()).map(String::from).collect();
    names.push("augment".into());
    names
}

fn unknown_key(path: &Path, key: &str, known: &[String]) -> Error {
    let last = key.rsplit('.').next().unwrap_or(key).replace('_', "-");
    let likeness = |name: &String| strsim::jaro_winkler(&last, &name.replace('_', "-"));
    let closest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let error = Error::usage(format!("unknown key `{key}` in the configuration")).at(path);
    match closest {
        Some(name) if likeness(name) > 0.75 => error.remedy(format!("did you mean `{name}`?")),
        _ => error.remedy(format!("the keys are: {}", known.join(", "))),
    }
}

fn wrong_value(path: &Path, error: toml::de::Error) -> Error {
    Error::usage(format!("the configuration is wrong: {}", error.to_string().trim_end())).at(path)
}

/// The two options that have no default.
///
/// # Errors
/// If one is missing.
pub fn required(options: &Options) -> Result<(PathBuf, String)> {
    match (&options.data, &options.organ) {
        (Some(data), Some(organ)) => Ok((data.clone(), organ.clone())),
        _ => Err(Error::usage("train needs --data DIR and --organ NAME")
            .remedy("`unet-engine inspect DIR` says which organs are annotated in a folder")),
    }
}
