//! Annotated series on disk: layouts, pairing of images with ROIs, sub-images, splits, the cache, and synthetic litters.
//!
//! Ends in plain host arrays ([`Sample`]), so it runs and is tested without a device. What is inferred from a folder, and how
//! `dataset.toml` overrides it, is documented in `docs/data-layouts.md`.

pub mod cache;
pub mod draft;
pub mod findings;
pub mod layout;
pub mod load;
pub mod manifest;
pub(crate) mod names;
mod numbering;
mod open;
pub mod pair;
mod source;
pub mod splits;
pub mod synth;

pub use load::Loaded;
pub use open::open_input;
pub use source::Source;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Mask;
use crate::image::Gray;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

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

impl Sample {
    /// Whether the picture has one intensity: such pictures are all the same, and none gives another away.
    pub fn is_blank(&self) -> bool {
        self.image.pixels.iter().all(|&p| p == self.image.pixels[0])
    }
}

/// How an organ is annotated in a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Annotation {
    /// By ROIs, each in its sub-image.
    Rois(pair::OrganRois),
    /// By mask pictures below `root`.
    Masks { spec: manifest::OrganSpec, root: PathBuf },
}

impl Annotation {
    /// A warning about ROIs that are no annotation, if there are any.
    fn without_area(&self, series: &str, organ: &str) -> Option<String> {
        match self {
            Annotation::Rois(pair::OrganRois { n_without_area: n @ 1.., .. }) => {
                Some(format!("{series}, {organ}: {n} ROIs enclose no area (lines, points, texts) and are not used"))
            }
            _ => None,
        }
    }
}

/// A series of sub-images, annotated or not.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub source: Source,
    /// How the source was recognised: pages, the grid and what it was found by.
    pub source_reason: String,
    /// The organs that are annotated. One that is missing here is not annotated, which is more than not visible.
    pub annotations: BTreeMap<String, Annotation>,
    /// Where the ROIs' coordinates start; `None` if every sub-image is a picture of its own.
    pub coordinates: Option<manifest::Coordinates>,
    pub coordinates_reason: String,
    /// Whether there are annotations that cannot be used until `dataset.toml` says how they are meant.
    pub is_ambiguous: bool,
    pub warnings: Vec<String>,
}

impl Series {
    /// Number of sub-images (blank cells of a grid excluded).
    pub fn len(&self) -> usize {
        self.source.numbers().len()
    }

    /// Whether there is no sub-image at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the sub-images, with their numbers in the series (from 1; the numbers of blank cells are skipped). One that cannot be
    /// read is an error in its place.
    ///
    /// # Errors
    /// If the series' file cannot be read at all.
    pub fn sub_images(&self) -> Result<Vec<(usize, Result<Gray>)>> {
        self.source.sub_images()
    }
}

/// An annotated data set.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub root: PathBuf,
    pub layout: layout::Layout,
    pub series: Vec<Series>,
    pub warnings: Vec<String>,
    /// What could not be read: whole series, ROI files, single ROIs.
    pub broken: Vec<Broken>,
}

/// Something that cannot be read or used.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The organ whose annotation it is; `None` for a whole series.
    pub organ: Option<String>,
    pub text: String,
}

impl Dataset {
    /// The organs that are annotated anywhere, sorted.
    pub fn organs(&self) -> Vec<String> {
        let organs: BTreeSet<&String> = self.series.iter().flat_map(|s| s.annotations.keys()).collect();
        organs.into_iter().cloned().collect()
    }

    /// All sub-images of the series that are annotated for `organ`, in order of (series, sub-image), with their masks; through the
    /// cache in the user's cache folder. What is broken is left out and returned beside the samples, with everything that opening
    /// the data set found to be broken; so are the warnings about the series that are annotated for the organ.
    ///
    /// # Errors
    /// If no series is annotated for the organ (names those that are), or if nothing of it can be read.
    pub fn samples(&self, organ: &str) -> Result<Loaded> {
        let mut all = Loaded {
            broken: self
                .broken
                .iter()
                .filter(|broken| broken.organ.as_deref().is_none_or(|o| o == organ))
                .map(|broken| Error::new(ErrorKind::Data, broken.text.clone()))
                .collect(),
            ..Loaded::default()
        };
        let annotated: Vec<(&Series, &Annotation)> =
            self.series.iter().filter_map(|s| s.annotations.get(organ).map(|a| (s, a))).collect();
        if annotated.is_empty() {
            let organs = self.organs();
            if organs.is_empty() && !all.broken.is_empty() {
                return Err(all.broken.swap_remove(0));
            }
            let here = if organs.is_empty() { "nothing".to_owned() } else { organs.join(", ") };
            let message = format!("no series is annotated for {organ}; annotated here: {here}");
            let error = Error::data(&self.root, message);
            return Err(match manifest::closest(organ, organs.iter().map(String::as_str)) {
                Some(similar) => error.remedy(format!("did you mean --organ {similar}?")),
                None => error.remedy("run `unet-engine inspect` to see what was found"),
            });
        }
        let folder = cache::folder();
        for (series, annotation) in annotated {
            all.warnings.extend(annotation.without_area(&series.name, organ));
            match cache::load(folder.as_deref(), series, annotation) {
                Ok(loaded) => {
                    all.warnings.extend(series.warnings.iter().cloned());
                    all.samples.extend(loaded.samples);
                    all.broken.extend(loaded.broken);
                    all.warnings.extend(loaded.warnings);
                }
                Err(error) => all.broken.push(error),
            }
        }
        match all.broken.pop() {
            Some(error) if all.samples.is_empty() => Err(error),
            last => {
                all.broken.extend(last);
                Ok(all)
            }
        }
    }
}
