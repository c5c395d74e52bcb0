//! A sheet of augmented samples with outlines: what the network will see, for a person to judge.
//!
//! The samples are drawn at the training's own input size and with its seed, since lengths of the augmentation are in pixels of that
//! input; only then are they enlarged or reduced, pixel by pixel, to a size that can be looked at.

use super::config::AugmentConfig;
use super::prepare::{Normalization, Prepared};
use super::sampler::{Address, Sampler};
use crate::dataset::Sample;
use crate::error::{Error, Result};
use std::path::Path;

/// Smallest and largest side of a picture on the sheet.
const CELL_MIN: usize = 160;
const CELL_MAX: usize = 512;
const GAP: usize = 4;
const ROWS: usize = 6;
const COLUMNS: usize = 7;
/// Outlines in orange: legible on grey, also for people who confuse red and green.
const OUTLINE: [u8; 3] = [255, 140, 0];
/// Padding, which the loss ignores.
const PADDING: [u8; 3] = [40, 45, 70];

/// How the training sees its samples.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Side of the network's input.
    pub size: usize,
    pub seed: u64,
    pub normalization: Normalization,
}

/// Writes a PNG: a row for each of some samples, at the left as it is, beside it as a training on `samples` sees it in its first six
/// epochs. Samples that show the organ come first, spread over the whole list.
///
/// # Errors
/// If there are no samples, if a range of `config` is wrong, or if the file cannot be written.
pub fn preview(samples: &[Sample], config: &AugmentConfig, view: View, path: &Path) -> Result<()> {
    config.validate()?;
    let chosen = choose(samples);
    if chosen.is_empty() {
        return Err(Error::run("there are no samples to preview").at(path));
    }
    let View { size, seed, normalization } = view;
    let mut cell = Cell::new(size, normalization);
    let pitch = cell.side + GAP;
    let (width, height) = (COLUMNS * pitch + GAP, chosen.len() * pitch + GAP);
    let mut sheet = vec![0u8; width * height * 3];
    let mut plain = Sampler::new([size; 2], None, normalization);
    let mut augmented = Sampler::new([size; 2], Some(config.clone()), normalization);
    for (row, &sample) in chosen.iter().enumerate() {
        let prepared = Prepared::new(&samples[sample], [size; 2], normalization, 1);
        for column in 0..COLUMNS {
            let sampler = if column == 0 { &mut plain } else { &mut augmented };
            let address = Address { seed, epoch: column.saturating_sub(1) as u32, image: sample as u32 };
            sampler.fill(&prepared, address, &mut cell.image, &mut cell.target, &mut cell.weight);
            cell.draw(&mut sheet, width, [GAP + column * pitch, GAP + row * pitch]);
        }
    }
    write_png(path, &sheet, width, height)
}

/// Side of a picture on the sheet: a multiple of a small input, so that each of its pixels is seen; a large one reduced.
fn shown_side(size: usize) -> usize {
    (size * CELL_MIN.div_ceil(size)).min(CELL_MAX)
}

/// Up to [`ROWS`] samples, evenly over those that show the organ, or over all if none does.
fn choose(samples: &[Sample]) -> Vec<usize> {
    let visible: Vec<usize> = (0..samples.len()).filter(|&i| !samples[i].instances.is_empty()).collect();
    let from = if visible.is_empty() { (0..samples.len()).collect() } else { visible };
    let n = from.len().min(ROWS);
    (0..n).map(|i| from[i * from.len() / n]).collect()
}

/// One picture of the sheet.
struct Cell {
    /// Side of the arrays, and of what is drawn of them.
    size: usize,
    side: usize,
    normalization: Normalization,
    image: Vec<f32>,
    target: Vec<f32>,
    weight: Vec<f32>,
}

impl Cell {
    fn new(size: usize, normalization: Normalization) -> Cell {
        let zeros = || vec![0.0; size * size];
        Cell { size, side: shown_side(size), normalization, image: zeros(), target: zeros(), weight: zeros() }
    }

    /// Draws the picture in grey and the border pixels of the target in colour.
    fn draw(&self, sheet: &mut [u8], width: usize, [left, top]: [usize; 2]) {
        let Normalization { mean, deviation } = self.normalization;
        for y in 0..self.side {
            for x in 0..self.side {
                let i = self.source(x, y);
                let grey = ((self.image[i] * deviation + mean) * 255.0).clamp(0.0, 255.0) as u8;
                let colour = if self.is_outline(x, y) {
                    OUTLINE
                } else if self.weight[i] == 0.0 {
                    PADDING
                } else {
                    [grey; 3]
                };
                let at = ((top + y) * width + left + x) * 3;
                sheet[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    /// The pixel of the input that is shown at (x, y).
    fn source(&self, x: usize, y: usize) -> usize {
        let of = |v: usize| v * self.size / self.side;
        of(y) * self.size + of(x)
    }

    /// Outlines are thin whatever the scale.
    fn is_outline(&self, x: usize, y: usize) -> bool {
        let inside = |x: usize, y: usize| x < self.side && y < self.side && self.target[self.source(x, y)] > 0.0;
        let around = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
        inside(x, y) && !around.into_iter().all(|(x, y)| inside(x, y))
    }
}

fn write_png(path: &Path, rgb: &[u8], width: usize, height: usize) -> Result<()> {
    use image::ImageEncoder;
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(rgb, width as u32, height as u32, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::run("cannot encode the preview").at(path).caused_by(e))?;
    crate::atomic_file::write(path, &bytes)
}
