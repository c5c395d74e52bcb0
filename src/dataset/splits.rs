//! Splits by whole series, written once, by seed.

use super::Sample;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Train,
    Val,
    Test,
}

/// How to split.
#[derive(Clone, Debug, Default)]
pub struct SplitOptions {
    pub seed: u64,
    /// Series named by the user as test set (`--test-series`).
    pub test_series: Vec<String>,
    /// Series named by the user as validation set (`--val-series`).
    pub val_series: Vec<String>,
    /// Split by single sub-images instead of whole series.
    pub by_image: bool,
}

/// A split, as written to `splits.json`. Members are series names, or `series#sub-image` when split by image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    pub train: Vec<String>,
    pub val: Vec<String>,
    pub test: Vec<String>,
    pub by_image: bool,
    pub seed: u64,
    /// Hexadecimal digests of all sub-images used in training or validation: what `evaluate` refuses to be fooled by.
    pub seen: Vec<String>,
}

impl Splits {
    /// Splits `samples`: test = max(1, round(n / 5)) series, validation likewise of the rest.
    ///
    /// # Errors
    /// With fewer than 3 series (names `--split-by image`); if the same picture lies in two parts; if a named series is unknown.
    pub fn make(_samples: &[Sample], _options: &SplitOptions) -> Result<Splits> {
        todo!()
    }

    /// The part that a sample belongs to; `None` if it is not in the split.
    pub fn part_of(&self, _sample: &Sample) -> Option<Part> {
        todo!()
    }
}
