//! What a prediction leaves on disk, for one series.
//!
//! ```text
//! <out>/summary.csv
//! <out>/<series>/<organ>_RoiSet.zip              sub-image coordinates; stack position for stacks and for the stack that a grid makes
//! <out>/<series>/<organ>_composite_RoiSet.zip    composite coordinates, for grids
//! <out>/<series>/masks/<organ>-sNN.png
//! <out>/<series>/overlays/<organ>-sNN.png
//! ```
//!
//! An archive without ROIs says that nothing was found; a missing one, that nothing was looked for.

use super::ensemble::Ensemble;
use super::style::Style;
use crate::atomic_file;
use crate::dataset::{Series, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::image::grid::Grid;
use crate::metrics::union;
use crate::report::overlay;
use crate::roi::{self, Roi, archive};
use crate::segment::Instance;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The first line of `summary.csv`.
pub const SUMMARY_HEADER: &str = "series,sub_image,organ,object,area_px,centroid_x,centroid_y,score\n";

/// The folder of a series.
pub struct SeriesOutput<'a> {
    folder: PathBuf,
    source: &'a Source,
}

impl<'a> SeriesOutput<'a> {
    /// Creates the folders.
    ///
    /// # Errors
    /// If they cannot be created.
    pub fn create(out: &Path, name: &str, series: &'a Series) -> Result<SeriesOutput<'a>> {
        let folder = out.join(name);
        for part in ["masks", "overlays"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(|e| Error::io(ErrorKind::Run, &path, "create the folder", e))?;
        }
        Ok(SeriesOutput { folder, source: &series.source })
    }

    /// Writes ROI archives, masks and overlays of one organ; `objects` for each of `images`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, ensemble: &Ensemble, style: Style, images: &[(usize, Gray)], objects: &[Vec<Instance>]) -> Result<()> {
        let organ = &ensemble.organ;
        let mut rois = Vec::new();
        for ((number, image), objects) in images.iter().zip(objects) {
            let masks = objects.iter().map(|object| &object.mask);
            let stem = format!("{organ}-s{number:02}.png");
            let mask = overlay::mask_png(&union(image.width, image.height, masks.clone()))?;
            atomic_file::write(&self.folder.join("masks").join(&stem), &mask)?;
            let picture = overlay::overlay(image, masks.map(|mask| (mask, style.color)));
            atomic_file::write(&self.folder.join("overlays").join(&stem), &picture.png()?)?;
            for (i, object) in objects.iter().enumerate() {
                rois.extend(self.roi(ensemble, style, *number, i + 1, object).map(|roi| (*number, roi)));
            }
        }
        if let Source::Composite { grid, .. } = self.source {
            let composite = rois.iter().map(|(number, roi)| in_composite(roi, *number, grid)).collect::<Result<Vec<_>>>()?;
            archive::write(&self.folder.join(format!("{organ}_composite_RoiSet.zip")), &composite)?;
        }
        let rois: Vec<Roi> = rois.into_iter().map(|(_, roi)| roi).collect();
        archive::write(&self.folder.join(format!("{organ}_RoiSet.zip")), &rois)
    }

    /// The ROI of an object, in the coordinates of its sub-image.
    fn roi(&self, ensemble: &Ensemble, style: Style, number: usize, object: usize, instance: &Instance) -> Option<Roi> {
        let mut roi = roi::from_mask(&instance.mask)?;
        roi.name = object_name(&ensemble.organ, number, object);
        roi.group = style.group;
        let [r, g, b] = style.color;
        roi.stroke_color = Some([r, g, b, 255]);
        // Files of a folder are opened one by one, and a position would hide the ROI there.
        if matches!(self.source, Source::Stack { .. } | Source::Composite { .. }) {
            roi.position = number as u32;
        }
        roi.set_property("score", &format!("{:.3}", instance.score));
        roi.set_property("model", &ensemble.name());
        roi.set_property("threshold", &format!("{:.3}", ensemble.point.threshold));
        Some(roi)
    }
}

/// `heart-s07-1`: organ, sub-image, number.
pub fn object_name(organ: &str, number: usize, object: usize) -> String {
    format!("{organ}-s{number:02}-{object}")
}

/// The ROI of sub-image `number` (from 1) where it lies in the composite, which is a single picture: no stack position.
fn in_composite(roi: &Roi, number: usize, grid: &Grid) -> Result<Roi> {
    let [x, y] = grid.origins[number - 1];
    let mut moved = roi.translated(x as i32, y as i32)?;
    moved.position = 0;
    Ok(moved)
}

/// Adds the rows of one series and organ to `summary.csv`.
pub fn summarise(summary: &mut String, series: &str, organ: &str, images: &[(usize, Gray)], objects: &[Vec<Instance>]) {
    for ((number, _), objects) in images.iter().zip(objects) {
        for (i, object) in objects.iter().enumerate() {
            let [x, y] = object.centroid;
            // Writing to a String cannot fail.
            let _ = writeln!(
                summary,
                "{},{number},{},{},{},{x:.2},{y:.2},{:.4}",
                quoted(series),
                quoted(organ),
                i + 1,
                object.area,
                object.score
            );
        }
    }
}

/// A field of a CSV file (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}
