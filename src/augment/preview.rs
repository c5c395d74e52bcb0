//! A sheet of augmented samples with outlines: what the network will see, for a person to judge.

use super::config::AugmentConfig;
use super::prepare::{Normalization, Prepared};
use super::sampler::{Address, Sampler};
use crate::dataset::Sample;
use crate::error::{Error, Result};
use std::path::Path;

/// Width and height of a picture on the sheet.
const CELL: usize = 160;
const GAP: usize = 4;
const ROWS: usize = 6;
const COLUMNS: usize = 7;
/// Outlines in orange: legible on grey, also for people who confuse red and green.
const OUTLINE: [u8; 3] = [255, 140, 0];
/// Padding, which the loss ignores.
const PADDING: [u8; 3] = [40, 45, 70];

/// Writes a PNG: a row for each of some samples, at the left as it is, beside it as it is augmented in six epochs. Samples that show
/// the organ come first, spread over the whole list.
///
/// # Errors
/// If there are no samples, if a range of `config` is wrong, or if the file cannot be written.
pub fn preview(samples: &[Sample], config: &AugmentConfig, normalization: Normalization, path: &Path) -> Result<()> {
    config.validate()?;
    let chosen = choose(samples);
    if chosen.is_empty() {
        return Err(Error::run("there are no samples to preview").at(path));
    }
    let (width, height) = (COLUMNS * (CELL + GAP) + GAP, chosen.len() * (CELL + GAP) + GAP);
    let mut sheet = vec![0u8; width * height * 3];
    let size = [CELL, CELL];
    let mut plain = Sampler::new(size, None, normalization);
    let mut augmented = Sampler::new(size, Some(config.clone()), normalization);
    let mut cell = Cell::new();
    for (row, &sample) in chosen.iter().enumerate() {
        let prepared = Prepared::new(&samples[sample], size, normalization, 1);
        for column in 0..COLUMNS {
            let sampler = if column == 0 { &mut plain } else { &mut augmented };
            let address = Address { seed: 0, epoch: column as u32, image: sample as u32 };
            sampler.fill(&prepared, address, &mut cell.image, &mut cell.target, &mut cell.weight);
            cell.draw(normalization, &mut sheet, width, [GAP + column * (CELL + GAP), GAP + row * (CELL + GAP)]);
        }
    }
    write_png(path, &sheet, width, height)
}

/// Up to [`ROWS`] samples, evenly over those that show the organ, or over all if none does.
fn choose(samples: &[Sample]) -> Vec<usize> {
    let visible: Vec<usize> = (0..samples.len()).filter(|&i| !samples[i].instances.is_empty()).collect();
    let from = if visible.is_empty() { (0..samples.len()).collect() } else { visible };
    let n = from.len().min(ROWS);
    (0..n).map(|i| from[i * from.len() / n]).collect()
}

/// The arrays of one picture of the sheet.
struct Cell {
    image: Vec<f32>,
    target: Vec<f32>,
    weight: Vec<f32>,
}

impl Cell {
    fn new() -> Cell {
        let zeros = || vec![0.0; CELL * CELL];
        Cell { image: zeros(), target: zeros(), weight: zeros() }
    }

    /// Draws the picture in grey and the border pixels of the target in colour.
    fn draw(&self, normalization: Normalization, sheet: &mut [u8], width: usize, [left, top]: [usize; 2]) {
        for y in 0..CELL {
            for x in 0..CELL {
                let i = y * CELL + x;
                let grey = ((self.image[i] * normalization.deviation + normalization.mean) * 255.0).clamp(0.0, 255.0) as u8;
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

    fn is_outline(&self, x: usize, y: usize) -> bool {
        let inside = |x: usize, y: usize| x < CELL && y < CELL && self.target[y * CELL + x] > 0.0;
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
