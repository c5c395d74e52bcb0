//! Annotated series on disk: layouts, pairing of images with ROIs, sub-images, splits, the cache, and synthetic litters.
//!
//! Ends in plain host arrays ([`Sample`]), so it runs and is tested without a device.

pub mod splits;
pub mod synth;

use crate::error::Result;
use crate::geometry::Mask;
use crate::image::Gray;
use crate::image::grid::Grid;
use std::path::{Path, PathBuf};

/// One sub-image with the instances of one organ: what training and evaluation read.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' name (its folder, or its image's stem).
    pub series: String,
    /// The sub-image's number in its series, from 1.
    pub sub_image: usize,
    /// The sub-image as stored, before normalisation.
    pub image: Gray,
    /// One mask of the sub-image's size per instance; none means: not visible here.
    pub instances: Vec<Mask>,
    /// SHA-256 of the sub-image's size and intensities: the same picture in two parts of a split is found by it.
    pub digest: [u8; 32],
}

/// How a series' sub-images are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// One picture, cut by a grid.
    Composite { file: PathBuf, grid: Grid },
    /// A multi-page TIFF.
    Stack { file: PathBuf, pages: usize },
    /// A folder of pictures, in natural order of their names.
    Folder { files: Vec<PathBuf> },
    /// One picture that is one sub-image.
    Single { file: PathBuf },
}

/// A series of sub-images, annotated or not.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub source: Source,
}

impl Series {
    /// Number of sub-images (blank cells of a grid excluded).
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Reads the sub-images, with their numbers in the series (from 1; the numbers of blank cells are skipped). One that cannot be
    /// read is an error in its place.
    ///
    /// # Errors
    /// If the series' file cannot be read at all.
    pub fn sub_images(&self) -> Result<Vec<(usize, Result<Gray>)>> {
        todo!()
    }
}

/// An annotated data set.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub root: PathBuf,
    pub series: Vec<Series>,
}

impl Dataset {
    /// Finds the layout, the series and their annotations; reads `dataset.toml` if there is one. Reads no pixels that it need not.
    ///
    /// # Errors
    /// If nothing that looks like a data set is there; if `dataset.toml` is wrong; if coordinates are ambiguous.
    pub fn open(_root: &Path) -> Result<Dataset> {
        todo!()
    }

    /// The organs that are annotated anywhere, sorted.
    pub fn organs(&self) -> Vec<String> {
        todo!()
    }

    /// All sub-images of the series that are annotated for `organ`, in order of (series, sub-image), with their masks; through the
    /// cache in the user's cache folder.
    ///
    /// # Errors
    /// If no series is annotated for the organ (names those that are); if files are broken. With `keep_going` broken files are
    /// left out and returned beside the samples.
    pub fn samples(&self, _organ: &str) -> Result<(Vec<Sample>, Vec<crate::error::Error>)> {
        todo!()
    }
}

/// Finds the series in an input of `predict`: a composite, a stack, a folder of pictures, a folder of series, or a single picture.
///
/// # Errors
/// If there is no picture.
pub fn open_input(_path: &Path) -> Result<Vec<Series>> {
    todo!()
}
