//! What a data set holds and what looks wrong, for `inspect`.

use super::layout::Layout;
use super::load;
use super::manifest::Coordinates;
use super::{Annotation, Dataset, Series, Source};
use serde::Serialize;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Everything that `inspect` says.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// Where the data lie; a name that is not UTF-8 is shown as near as it can be, since JSON holds nothing else.
    pub root: String,
    pub layout: Layout,
    pub organs: Vec<String>,
    pub series: Vec<SeriesFindings>,
    /// What looks wrong but does not keep the data from being used.
    pub warnings: Vec<String>,
    /// What cannot be read or used.
    pub errors: Vec<String>,
}

/// One series.
#[derive(Debug, Serialize)]
pub struct SeriesFindings {
    pub name: String,
    /// `composite`, `stack`, `folder` or `single`.
    pub source: &'static str,
    /// The same in words, with the grid; for the text.
    #[serde(skip)]
    pub description: String,
    pub files: Vec<String>,
    pub grid: Option<GridFindings>,
    /// How the source was recognised.
    pub source_reason: String,
    pub sub_images: usize,
    /// Sizes of the sub-images and how many have each.
    pub sizes: Vec<SizeCount>,
    pub coordinates: Option<Coordinates>,
    pub coordinates_reason: String,
    pub organs: BTreeMap<String, OrganFindings>,
}

#[derive(Debug, Serialize)]
pub struct GridFindings {
    pub rows: usize,
    pub columns: usize,
    pub cell: [usize; 2],
    pub border: usize,
    /// Numbers (from 1) of cells without a picture.
    pub blank: Vec<usize>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    pub width: usize,
    pub height: usize,
    pub count: usize,
}

/// One organ in one series.
#[derive(Debug, Default, Serialize)]
pub struct OrganFindings {
    /// ROIs in the files, of any kind; 0 for mask pictures.
    pub rois: usize,
    /// ROIs that enclose no area, and so are no annotation.
    pub without_area: usize,
    /// Entries of archives that are no ROIs.
    pub skipped: usize,
    /// Instances that are used.
    pub instances: usize,
    /// Sub-images in which the organ is visible.
    pub visible_in: usize,
    /// Pixels of all instances.
    pub area_px: usize,
}

impl Findings {
    /// Reads the whole data set, past the cache, and says what is there.
    pub fn of(dataset: &Dataset) -> Findings {
        let mut findings = Findings {
            root: shown(&dataset.root),
            layout: dataset.layout,
            organs: dataset.organs(),
            series: Vec::new(),
            warnings: dataset.warnings.clone(),
            errors: dataset.broken.iter().map(|broken| broken.text.clone()).collect(),
        };
        let mut repeated = Repeated::default();
        for series in &dataset.series {
            findings.add(series, &mut repeated);
        }
        findings.warnings.extend(repeated.warnings());
        findings
    }

    fn add(&mut self, series: &Series, repeated: &mut Repeated) {
        self.warnings.extend(series.warnings.iter().cloned());
        let mut found = SeriesFindings::of_source(series);
        let images = match series.sub_images() {
            Ok(images) => images,
            Err(error) => {
                self.errors.push(error.to_string());
                self.series.push(found);
                return;
            }
        };
        for (number, image) in images {
            let image = match image {
                Ok(image) => image,
                Err(error) => {
                    self.errors.push(error.to_string());
                    continue;
                }
            };
            found.count_size(image.width, image.height);
            if image.pixels.iter().any(|&p| p != image.pixels[0]) {
                repeated.see(load::digest(&image), &series.name, number);
            }
        }
        for (organ, annotation) in &series.annotations {
            let counted = self.count(series, organ, annotation);
            found.organs.insert(organ.clone(), counted);
        }
        if series.annotations.is_empty() && !series.is_ambiguous {
            self.warnings.push(format!("{}: pictures without any annotation; not used for training", series.name));
        }
        self.series.push(found);
    }

    fn count(&mut self, series: &Series, organ: &str, annotation: &Annotation) -> OrganFindings {
        let mut counted = OrganFindings::default();
        if let Annotation::Rois(rois) = annotation {
            (counted.rois, counted.without_area, counted.skipped) = (rois.n_read, rois.n_without_area, rois.n_skipped);
        }
        self.warnings.extend(annotation.without_area(&series.name, organ));
        match load::load(series, annotation) {
            Ok(loaded) => {
                self.warnings.extend(loaded.warnings);
                // Broken pictures are named already; broken masks are not.
                let new = loaded.broken.iter().map(ToString::to_string).filter(|e| !self.errors.contains(e)).collect::<Vec<_>>();
                self.errors.extend(new);
                let visible = loaded.samples.iter().filter(|s| !s.instances.is_empty());
                counted.visible_in = visible.count();
                let masks = || loaded.samples.iter().flat_map(|s| &s.instances);
                (counted.instances, counted.area_px) = (masks().count(), masks().map(crate::geometry::Mask::area).sum());
            }
            Err(error) => self.errors.push(error.to_string()),
        }
        counted
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Pictures that are there more than once, by the two series: copied series are common, and deserve one line.
#[derive(Default)]
struct Repeated {
    first_of: HashMap<[u8; 32], (String, usize)>,
    /// (series, series of the first copy) with the numbers of the two sub-images.
    pairs: BTreeMap<(String, String), Vec<(usize, usize)>>,
}

impl Repeated {
    fn see(&mut self, digest: [u8; 32], series: &str, number: usize) {
        match self.first_of.entry(digest) {
            Entry::Vacant(free) => _ = free.insert((series.to_owned(), number)),
            Entry::Occupied(first) => {
                let (first_series, first_number) = first.get();
                self.pairs.entry((series.to_owned(), first_series.clone())).or_default().push((number, *first_number));
            }
        }
    }

    fn warnings(self) -> impl Iterator<Item = String> {
        self.pairs.into_iter().map(|((series, first_series), numbers)| {
            let (number, first) = numbers[0];
            let more = match numbers.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more of the same two series)"),
            };
            format!("{series}, sub-image {number}: the same picture as {first_series}, sub-image {first}{more}")
        })
    }
}

impl SeriesFindings {
    fn of_source(series: &Series) -> SeriesFindings {
        let source = match &series.source {
            Source::Composite { .. } => "composite",
            Source::Stack { .. } => "stack",
            Source::Folder { .. } => "folder",
            Source::Single { .. } => "single",
        };
        let grid = match &series.source {
            Source::Composite { grid, .. } => Some(GridFindings {
                rows: grid.rows,
                columns: grid.columns,
                cell: grid.cell,
                border: grid.border,
                blank: grid.blank.iter().map(|cell| cell + 1).collect(),
            }),
            _ => None,
        };
        SeriesFindings {
            name: series.name.clone(),
            source,
            description: series.source.describe(),
            files: series.source.files().iter().map(|file| shown(file)).collect(),
            grid,
            source_reason: series.source_reason.clone(),
            sub_images: series.len(),
            sizes: Vec::new(),
            coordinates: series.coordinates,
            coordinates_reason: series.coordinates_reason.clone(),
            organs: BTreeMap::new(),
        }
    }

    fn count_size(&mut self, width: usize, height: usize) {
        match self.sizes.iter_mut().find(|s| (s.width, s.height) == (width, height)) {
            Some(size) => size.count += 1,
            None => self.sizes.push(SizeCount { width, height, count: 1 }),
        }
    }
}
