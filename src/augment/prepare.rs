//! From a sub-image as stored to what the sampler reads: stretched, standardised, at the input's resolution, with labels.

use crate::dataset::Sample;
use crate::error::Result;
use crate::geometry::Mask;
use crate::image::Gray;
use crate::image::letterbox::Letterbox;
use crate::ops::augment::SURPLUS;
use serde::{Deserialize, Serialize};

/// Stretches a sub-image: its 1st to 99th percentile to 0 to 1, the rest clipped. A picture of one intensity becomes 0.
pub fn prepare(image: &Gray) -> Gray {
    let mut sorted = image.pixels.clone();
    let n = sorted.len();
    if n == 0 {
        return image.clone();
    }
    let mut at = |share: f64| *sorted.select_nth_unstable_by((share * (n - 1) as f64).round() as usize, f32::total_cmp).1;
    let (mut low, mut high) = (at(0.01), at(0.99));
    if high <= low {
        // A few bright pixels on black: the percentiles see nothing, the extremes do.
        (low, high) = (at(0.0), at(1.0));
    }
    let range = if high > low { high - low } else { f32::INFINITY };
    let pixels = image.pixels.iter().map(|&p| ((p - low) / range).clamp(0.0, 1.0)).collect();
    Gray::new(image.width, image.height, pixels)
}

/// Intensities over the training set after the percentile stretch; kept with the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    pub mean: f32,
    pub deviation: f32,
}

impl Normalization {
    /// Mean and deviation of all pixels of the stretched samples; (0, 1) of nothing.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Normalization {
        let (mut n, mut sum, mut squares) = (0.0f64, 0.0f64, 0.0f64);
        for sample in samples {
            for p in prepare(&sample.image).pixels {
                sum += f64::from(p);
                squares += f64::from(p) * f64::from(p);
            }
            n += sample.image.pixels.len() as f64;
        }
        if n == 0.0 {
            return Normalization { mean: 0.0, deviation: 1.0 };
        }
        let mean = sum / n;
        let deviation = (squares / n - mean * mean).max(0.0).sqrt();
        // Pictures of one intensity each deviate by nothing; dividing by it would make noise of rounding errors.
        Normalization { mean: mean as f32, deviation: if deviation < 1e-4 { 1.0 } else { deviation as f32 } }
    }

    /// Standardises a stretched picture in place.
    pub fn apply(&self, stretched: &mut Gray) {
        let factor = 1.0 / self.deviation;
        stretched.pixels.iter_mut().for_each(|p| *p = (*p - self.mean) * factor);
    }

    /// A sub-image as stored, stretched and standardised: what [`Letterbox::resample_image`] takes to the network's input.
    pub fn standardise(&self, image: &Gray) -> Gray {
        let mut picture = prepare(image);
        self.apply(&mut picture);
        picture
    }
}

/// A sample that is ready to be sampled at any transform; made once and kept.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) letterbox: Letterbox,
    /// The standardised picture, averaged to the input's resolution where it is finer.
    pub(super) content: Gray,
    /// Of the source's size: 0, the number of the instance from 1, or [`SURPLUS`].
    pub(super) labels: Vec<u8>,
}

impl Prepared {
    /// Checks that every sample can be seen in an input of width and height `size`.
    ///
    /// # Errors
    /// If one cannot, with its series and place.
    pub fn check(samples: &[Sample], size: [usize; 2]) -> Result<()> {
        for sample in samples {
            let place = format!("{}, sub-image {}", sample.series, sample.sub_image);
            Letterbox::check([sample.image.width, sample.image.height], size).map_err(|e| e.at(place))?;
        }
        Ok(())
    }

    /// Prepares a sample for an input of width and height `size` and a network of `channels` output channels.
    ///
    /// With one channel every instance has the label 1. With several, the `channels` largest (by pixels; ties: the first) are numbered
    /// from 1, the largest first; a pixel of two of them belongs to the smaller one, which is the one in front or inside; the others
    /// are surplus, but for pixels that they share with a numbered one.
    ///
    /// # Panics
    /// If a mask has not the sub-image's size.
    pub fn new(sample: &Sample, size: [usize; 2], normalization: Normalization, channels: usize) -> Prepared {
        let picture = normalization.standardise(&sample.image);
        let letterbox = Letterbox::fit([picture.width, picture.height], size);
        Prepared { letterbox, content: letterbox.content(&picture), labels: labels(sample, channels) }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.content.pixels.capacity() * size_of::<f32>() + self.labels.capacity()
    }
}

/// The labels of [`Prepared::new`].
fn labels(sample: &Sample, channels: usize) -> Vec<u8> {
    let mut labels = vec![0; sample.image.pixels.len()];
    let mut masks: Vec<&Mask> = sample.instances.iter().collect();
    if channels > 1 {
        masks.sort_by_key(|mask| std::cmp::Reverse(mask.area()));
    }
    let (kept, surplus) = masks.split_at(if channels > 1 { channels.min(masks.len()) } else { masks.len() });
    // Later ones cover earlier ones.
    let numbered = kept.iter().enumerate().map(|(i, mask)| (if channels > 1 { i as u8 + 1 } else { 1 }, mask));
    for (label, mask) in surplus.iter().map(|mask| (SURPLUS, mask)).chain(numbered) {
        assert_eq!((mask.width(), mask.height()), (sample.image.width, sample.image.height), "a mask of its sub-image's size");
        labels.iter_mut().zip(mask.pixels()).filter(|(_, inside)| **inside != 0).for_each(|(l, _)| *l = label);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(size: [usize; 2], columns: std::ops::Range<i64>) -> Mask {
        let mut mask = Mask::new(size[0], size[1]);
        (0..size[1]).for_each(|y| mask.set_span(y as i64, columns.start, columns.end));
        mask
    }

    fn labelled(instances: &[std::ops::Range<i64>], channels: usize) -> Vec<u8> {
        let instances = instances.iter().map(|columns| instance([12, 1], columns.clone())).collect();
        let image = Gray::new(12, 1, vec![0.0; 12]);
        labels(&Sample { series: "s".into(), sub_image: 1, image, instances, digest: [0; 32] }, channels)
    }

    #[test]
    fn the_largest_are_numbered_and_the_others_surplus() {
        let instances = [0..2, 3..7, 8..9, 9..12];
        assert_eq!(labelled(&instances, 1), [1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1]);
        assert_eq!(labelled(&instances, 2), [SURPLUS, SURPLUS, 0, 1, 1, 1, 1, 0, SURPLUS, 2, 2, 2]);
        assert_eq!(labelled(&instances, 8), [3, 3, 0, 1, 1, 1, 1, 0, 4, 2, 2, 2]);
        assert_eq!(labelled(&[0..2, 4..6, 8..10], 2), [1, 1, 0, 0, 2, 2, 0, 0, SURPLUS, SURPLUS, 0, 0], "of equals the first");
    }

    #[test]
    fn a_shared_pixel_belongs_to_the_smaller_but_never_to_a_surplus_one() {
        assert_eq!(labelled(&[0..3, 1..9], 2), [2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(labelled(&[0..8, 2..8, 7..10], 2), [1, 1, 2, 2, 2, 2, 2, 2, SURPLUS, SURPLUS, 0, 0]);
    }

    #[test]
    fn percentiles_become_zero_and_one() {
        let picture = Gray::new(101, 1, (0..101).map(|i| 10.0 * i as f32).collect());
        let stretched = prepare(&picture);
        assert_eq!(stretched.pixels[1], 0.0);
        assert_eq!(stretched.pixels[99], 1.0);
        assert!((stretched.pixels[50] - 0.5).abs() < 1e-6);
        assert_eq!((stretched.pixels[0], stretched.pixels[100]), (0.0, 1.0));
    }

    #[test]
    fn flat_pictures_become_zero() {
        assert!(prepare(&Gray::new(4, 4, vec![7.0; 16])).pixels.iter().all(|&p| p == 0.0));
        let mut lonely = vec![0.0; 1000];
        lonely[3] = 255.0;
        assert_eq!(prepare(&Gray::new(100, 10, lonely)).pixels[3], 1.0);
    }

    #[test]
    fn the_training_set_is_standardised() {
        let picture = Gray::new(64, 64, (0..4096).map(|i| (i * 37 % 251) as f32).collect());
        let sample = Sample { series: "s".into(), sub_image: 1, image: picture, instances: Vec::new(), digest: [0; 32] };
        let normalization = Normalization::of([&sample]);
        let standardised = normalization.standardise(&sample.image).pixels;
        let mean = standardised.iter().sum::<f32>() / 4096.0;
        let variance = standardised.iter().map(|p| p * p).sum::<f32>() / 4096.0;
        assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "mean {mean}, variance {variance}");
    }
}
