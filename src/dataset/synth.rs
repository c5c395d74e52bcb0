//! Synthetic litters.

use crate::error::Result;
use std::path::PathBuf;

/// How annotations and composites are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutKind {
    /// A folder per series (the report's layout).
    Series,
    /// Images with RoiSet folders or zips beside them (the lab's layout).
    Lab,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CompositeKind {
    Grid,
    Stack,
}

/// What to draw.
#[derive(Clone, Debug)]
pub struct SynthOptions {
    pub out: PathBuf,
    pub n_series: usize,
    pub seed: u64,
    pub layout: LayoutKind,
    pub composite: CompositeKind,
    /// Width and height of a sub-image in pixels.
    pub size: usize,
}

/// Draws a data set.
///
/// # Errors
/// If `out` exists and is not empty, or cannot be written.
pub fn write(_options: &SynthOptions) -> Result<()> {
    todo!()
}
