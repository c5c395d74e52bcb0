//! What a prediction leaves on disk, for one series.
//!
//! ```text
//! <out>/summary.csv
//! <out>/report.html                              all series in a table, with links
//! <out>/<series>/report.html                     every sub-image with its outlines
//! <out>/<series>/<organ>_RoiSet.zip              sub-image coordinates; stack position for stacks and for the stack that a grid makes
//! <out>/<series>/<organ>_review.zip              the same for objects just below the threshold
//! <out>/<series>/<organ>_composite_RoiSet.zip    composite coordinates, for grids; likewise <organ>_composite_review.zip
//! <out>/<series>/masks/<organ>-sNN.png
//! <out>/<series>/overlays/<organ>-sNN.png
//! ```
//!
//! An archive without ROIs says that nothing was found; a missing one, that nothing was looked for.

use super::ensemble::{Ensemble, Found};
use super::style::{REVIEW, Style};
use crate::atomic_file;
use crate::dataset::{Series, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::image::grid::Grid;
use crate::metrics::union;
use crate::report::{SeriesReport, overlay};
use crate::roi::{self, Roi, archive};
use crate::segment::Instance;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The first line of `summary.csv`.
pub const SUMMARY_HEADER: &str = "series,sub_image,organ,object,area_px,centroid_x,centroid_y,score\n";

/// The files of a series. Masks and overlays are written at once, archives and report when all sub-images are there.
pub struct SeriesOutput<'a> {
    folder: PathBuf,
    name: String,
    source: &'a Source,
    organs: Vec<OrganOutput>,
    report: SeriesReport,
}

/// What is gathered of an organ.
#[derive(Default)]
struct OrganOutput {
    /// With the numbers of their sub-images.
    accepted: Vec<(usize, Roi)>,
    review: Vec<(usize, Roi)>,
    /// Rows of `summary.csv`.
    rows: String,
}

/// How many objects of an organ were found.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectCounts {
    pub accepted: usize,
    pub review: usize,
}

impl<'a> SeriesOutput<'a> {
    /// Creates the folders. `name` is the series' folder below `out`.
    ///
    /// # Errors
    /// If they cannot be created.
    pub fn create(out: &Path, name: &str, series: &'a Series, n_organs: usize) -> Result<SeriesOutput<'a>> {
        let folder = out.join(name);
        for part in ["masks", "overlays"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(|e| Error::io(ErrorKind::Run, &path, "create the folder", e))?;
        }
        let organs = (0..n_organs).map(|_| OrganOutput::default()).collect();
        Ok(SeriesOutput { folder, name: name.to_owned(), source: &series.source, organs, report: SeriesReport::default() })
    }

    /// Adds a sub-image with what was found in it: for each of `ensembles` and its style.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn add(&mut self, number: usize, image: &Gray, ensembles: &[Ensemble], styles: &[Style], found: &[&Found]) -> Result<()> {
        let mut outlines = Vec::new();
        for (e, (ensemble, found)) in ensembles.iter().zip(found).enumerate() {
            let masks = found.accepted.iter().map(|object| &object.mask);
            let review = found.review.iter().map(|object| (&object.mask, REVIEW.color));
            let in_colors: Vec<_> = review.chain(masks.clone().map(|mask| (mask, styles[e].color))).collect();
            let stem = format!("{}-s{number:02}.png", ensemble.organ);
            let mask = overlay::mask_png(&union(image.width, image.height, masks))?;
            atomic_file::write(&self.folder.join("masks").join(&stem), &mask)?;
            let picture = overlay::overlay(image, in_colors.iter().copied());
            atomic_file::write(&self.folder.join("overlays").join(&stem), &picture.png()?)?;
            outlines.extend(in_colors);
            for (i, object) in found.accepted.iter().enumerate() {
                let name = format!("{}-s{number:02}-{}", ensemble.organ, i + 1);
                let roi = self.roi(object, name, number, styles[e], ensemble.properties(object));
                self.organs[e].accepted.extend(roi.map(|roi| (number, roi)));
                self.organs[e].rows.push_str(&summary_row(&self.name, number, &ensemble.organ, i + 1, object));
            }
            for (i, object) in found.review.iter().enumerate() {
                let name = format!("{}-s{number:02}-r{}", ensemble.organ, i + 1);
                let roi = self.roi(object, name, number, REVIEW, ensemble.review_properties(object));
                self.organs[e].review.extend(roi.map(|roi| (number, roi)));
            }
        }
        let counts: Vec<(&str, usize, usize)> =
            ensembles.iter().zip(found).map(|(e, f)| (e.organ.as_str(), f.accepted.len(), f.review.len())).collect();
        self.report.add(number, &overlay::overlay(image, outlines), &counts)
    }

    /// Writes the archives and the report; returns the rows of the summary and the counts of each organ.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(self, ensembles: &[Ensemble], styles: &[Style], description: &str) -> Result<Vec<(String, ObjectCounts)>> {
        for (ensemble, organ) in ensembles.iter().zip(&self.organs) {
            self.write_archive(&ensemble.organ, "RoiSet", &organ.accepted)?;
            self.write_archive(&ensemble.organ, "review", &organ.review)?;
        }
        let legend: Vec<(String, [u8; 3])> = ensembles.iter().zip(styles).map(|(e, s)| (e.describe(), s.color)).collect();
        self.report.write(&self.folder.join("report.html"), &self.name, description, &legend, REVIEW.color)?;
        let counts = |organ: &OrganOutput| ObjectCounts { accepted: organ.accepted.len(), review: organ.review.len() };
        Ok(self.organs.into_iter().map(|organ| (organ.rows.clone(), counts(&organ))).collect())
    }

    fn write_archive(&self, organ: &str, kind: &str, rois: &[(usize, Roi)]) -> Result<()> {
        if let Source::Composite { grid, .. } = self.source {
            let composite = rois.iter().map(|(number, roi)| in_composite(roi, *number, grid)).collect::<Result<Vec<_>>>()?;
            archive::write(&self.folder.join(format!("{organ}_composite_{kind}.zip")), &composite)?;
        }
        let rois: Vec<Roi> = rois.iter().map(|(_, roi)| roi.clone()).collect();
        archive::write(&self.folder.join(format!("{organ}_{kind}.zip")), &rois)
    }

    /// The ROI of an object, in the coordinates of its sub-image.
    fn roi(&self, object: &Instance, name: String, number: usize, style: Style, properties: Vec<(&str, String)>) -> Option<Roi> {
        let mut roi = roi::from_mask(&object.mask)?;
        roi.name = name;
        roi.group = style.group;
        let [r, g, b] = style.color;
        roi.stroke_color = Some([r, g, b, 255]);
        // Files of a folder are opened one by one, and a position would hide the ROI there.
        if matches!(self.source, Source::Stack { .. } | Source::Composite { .. }) {
            roi.position = number as u32;
        }
        properties.iter().for_each(|(key, value)| roi.set_property(key, value));
        Some(roi)
    }
}

/// The ROI of sub-image `number` (from 1) where it lies in the composite, which is a single picture: no stack position.
fn in_composite(roi: &Roi, number: usize, grid: &Grid) -> Result<Roi> {
    let [x, y] = grid.origins[number - 1];
    let mut moved = roi.translated(x as i32, y as i32)?;
    moved.position = 0;
    Ok(moved)
}

/// A row of `summary.csv`.
fn summary_row(series: &str, number: usize, organ: &str, object: usize, instance: &Instance) -> String {
    let [x, y] = instance.centroid;
    let (series, organ) = (quoted(series), quoted(organ));
    let mut row = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(row, "{series},{number},{organ},{object},{},{x:.2},{y:.2},{:.4}", instance.area, instance.score);
    row
}

/// Series and organ of a row as [`summary_row`] writes it.
pub fn series_and_organ(row: &str) -> Option<(String, String)> {
    let series = first_field(row);
    let rest = row.get(quoted(&series).len()..)?.strip_prefix(',')?;
    let (_, rest) = rest.split_once(',')?;
    Some((series, first_field(rest)))
}

fn first_field(row: &str) -> String {
    let Some(rest) = row.strip_prefix('"') else {
        return row.split(',').next().unwrap_or_default().trim_end().to_owned();
    };
    // Two quotation marks stand for one; a single one ends the field.
    let mut field = String::new();
    let mut characters = rest.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '"' && characters.next_if_eq(&'"').is_none() {
            break;
        }
        field.push(c);
    }
    field
}

/// A field of a CSV file (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_organ_come_back() {
        for name in ["litter 7", "a,b", "say \"hi\"", "\"", ""] {
            let row = format!("{},3,{},1,5\n", quoted(name), quoted(name));
            assert_eq!(series_and_organ(&row), Some((name.to_owned(), name.to_owned())));
        }
        assert_eq!(["", "a", "\"", "a,3"].map(series_and_organ), [const { None }; 4]);
    }
}
