//! Synthetic litters: annotated series that look enough like ultrasound to try everything on.
//!
//! [`scene`] holds a litter in three dimensions, [`render`] makes a picture and masks of a section of it, [`write()`] writes them in
//! the layouts that a laboratory would have them in. The same seed gives the same bytes.

pub mod render;
pub mod scene;
mod write;

pub use write::write;

use std::path::PathBuf;

/// How annotations and composites are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutKind {
    /// A folder per series (the report's layout).
    Series,
    /// Images with RoiSet folders or zips beside them (the lab's layout).
    Lab,
}

/// How the sub-images of a series are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CompositeKind {
    /// One picture of 5 rows and 7 columns.
    Grid,
    /// A TIFF of 35 pages.
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
