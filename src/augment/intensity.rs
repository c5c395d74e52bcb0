//! Intensities of one image: brightness, contrast, speckle and noise.
//!
//! With v the stretched intensity: v' = ((v - 1/2) c + 1/2 + b) (1 + s n1) + g n2, where n1 and n2 are standard normal numbers of
//! each pixel. Pixel p of a row takes them from word p of the row's Philox blocks: 12 bits each, through a table of the normal
//! distribution's quantiles. That is exact to 4,096 steps, costs one multiplication round in eight, and needs no logarithm.

use super::config::AugmentConfig;
use super::prepare::Normalization;
use crate::ops::augment::{Draw, UPPER_QUANTILES};
use crate::random::{Philox, Purpose, fill_words};
use std::sync::LazyLock;

/// The drawn intensity parameters of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Intensity {
    brightness: f32,
    contrast: f32,
    noise: f32,
    speckle: f32,
}

impl Intensity {
    /// Draws the parameters.
    pub(super) fn draw(config: &AugmentConfig, rng: &mut Philox) -> Intensity {
        let brightness = config.brightness * (2.0 * rng.uniform() - 1.0);
        let contrast = 1.0 + config.contrast * (2.0 * rng.uniform() - 1.0);
        let noise = rng.range(config.noise[0], config.noise[1]);
        let speckle = rng.range(config.speckle[0], config.speckle[1]);
        Intensity { brightness, contrast, noise, speckle }
    }

    /// Whether it changes anything.
    pub(super) fn is_identity(&self) -> bool {
        let Intensity { brightness, contrast, noise, speckle } = *self;
        brightness == 0.0 && contrast == 1.0 && noise == 0.0 && speckle == 0.0
    }

    /// Puts them into an image's draw.
    pub(super) fn put(&self, normalization: Normalization, draw: &mut Draw) {
        let Normalization { mean, deviation } = normalization;
        draw.changes_intensity = u32::from(!self.is_identity());
        draw.gain = deviation * self.contrast;
        draw.offset = (mean - 0.5) * self.contrast + 0.5 + self.brightness;
        draw.mean = mean;
        draw.factor = 1.0 / deviation;
        (draw.noise, draw.speckle) = (self.noise, self.speckle);
    }
}

/// Changes row `y` of a standardised picture where `weight` is 1; `words` is a buffer of [`words_per_row`].
pub(super) fn apply(draw: &Draw, quantiles: &[f32; 4096], y: usize, row: &mut [f32], weight: &[f32], words: &mut [u32]) {
    let Draw { gain, offset, mean, factor, noise, speckle, .. } = *draw;
    if !draw.has_noise() {
        for (v, w) in row.iter_mut().zip(weight) {
            *v = w * ((*v * gain + offset) - mean) * factor;
        }
        return;
    }
    let first = (y * words.len() / 4) as u32;
    let seed = u64::from(draw.seed[0]) | u64::from(draw.seed[1]) << 32;
    fill_words(seed, [draw.epoch, draw.image, Purpose::Noise as u32], first, words);
    for ((v, w), word) in row.iter_mut().zip(weight).zip(words) {
        let (n1, n2) = (quantiles[(*word & 0xFFF) as usize], quantiles[(*word >> 20) as usize]);
        let value = (*v * gain + offset) * (1.0 + speckle * n1) + noise * n2;
        *v = w * (value - mean) * factor;
    }
}

/// The length of the buffer of random words for rows of `width` pixels: whole Philox blocks.
pub(super) fn words_per_row(width: usize) -> usize {
    width.next_multiple_of(4)
}

/// Quantiles of the standard normal distribution at (i + 1/2) / 4096, scaled to a deviation of exactly 1.
static NORMAL_QUANTILES: LazyLock<Box<[f32; 4096]>> = LazyLock::new(|| {
    let upper: [f64; UPPER_QUANTILES] = core::array::from_fn(|i| normal_quantile(0.5 + (i as f64 + 0.5) / 4096.0));
    let deviation = libm::sqrt(upper.iter().map(|q| q * q).sum::<f64>() / upper.len() as f64);
    Box::new(mirrored(&upper.map(|q| (q / deviation) as f32)))
});

/// All quantiles, from those above the median.
pub(crate) fn mirrored(upper: &[f32; UPPER_QUANTILES]) -> [f32; 4096] {
    core::array::from_fn(|i| if i < UPPER_QUANTILES { -upper[UPPER_QUANTILES - 1 - i] } else { upper[i - UPPER_QUANTILES] })
}

/// The quantiles that pixels take their noise from; made at the first call.
pub(super) fn quantiles() -> &'static [f32; 4096] {
    &NORMAL_QUANTILES
}

/// Those above the median: what [`crate::ops::augment::Augment`] takes.
pub fn upper_quantiles() -> &'static [f32] {
    &NORMAL_QUANTILES[UPPER_QUANTILES..]
}

/// The x with Phi(x) = `p`, for p from 1/2 to below 1: Newton's method on Phi(x) = 1 - erfc(x / sqrt 2) / 2.
fn normal_quantile(p: f64) -> f64 {
    let mut x = 0.0;
    // Phi is concave above 0, so the steps from the left never overshoot; 50 are far more than needed.
    for _ in 0..50 {
        let phi = 1.0 - 0.5 * libm::erfc(x * core::f64::consts::FRAC_1_SQRT_2);
        let density = libm::exp(-0.5 * x * x) * 0.398_942_280_401_432_7;
        let step = (p - phi) / density;
        x += step;
        if step.abs() < 1e-14 {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_the_published_table() {
        // Abramowitz and Stegun, table 26.5.
        for (p, x) in [(0.5, 0.0), (0.841_344_746, 1.0), (0.975, 1.959_963_985), (0.995, 2.575_829_304), (0.9999, 3.719_016_485)]
        {
            assert!((normal_quantile(p) - x).abs() < 1e-8, "{p}: {} instead of {x}", normal_quantile(p));
        }
    }

    fn draw(intensity: Intensity, image: u32) -> Draw {
        let mut draw = Draw { seed: [3, 0], epoch: 1, image, ..Draw::nothing() };
        intensity.put(Normalization { mean: 0.25, deviation: 0.5 }, &mut draw);
        draw
    }

    /// Mean, deviation and correlation of a flat picture's noise, within 4 standard errors.
    #[test]
    fn noise_has_its_statistics() {
        let (width, height) = (256, 256);
        let n = (width * height) as f64;
        for (noise, speckle, expected) in [(0.1f32, 0.0f32, 0.1f64), (0.0, 0.4, 0.1), (0.3, 1.6, 0.5)] {
            let draw = draw(Intensity { brightness: 0.0, contrast: 1.0, noise, speckle }, 2);
            let mut picture = vec![0.0f32; width * height];
            let mut words = vec![0; words_per_row(width)];
            for (y, row) in picture.chunks_exact_mut(width).enumerate() {
                apply(&draw, quantiles(), y, row, &vec![1.0; width], &mut words);
            }
            // A standardised 0 is an intensity of 0.25: speckle of 0.4 deviates by 0.1 there.
            let values: Vec<f64> = picture.iter().map(|v| f64::from(*v) * 0.5).collect();
            let mean = values.iter().sum::<f64>() / n;
            let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!(mean.abs() < 4.0 * expected / n.sqrt(), "mean {mean}");
            assert!((deviation / expected - 1.0).abs() < 4.0 / (2.0 * n).sqrt(), "deviation {deviation}, not {expected}");
            for lag in [1, width] {
                let product: f64 = values.iter().zip(&values[lag..]).map(|(a, b)| a * b).sum();
                let correlation = product / n / (deviation * deviation);
                assert!(correlation.abs() < 4.0 / n.sqrt(), "correlation {correlation} at {lag}");
            }
        }
    }

    #[test]
    fn brightness_and_contrast_are_in_stretched_units() {
        let draw = draw(Intensity { brightness: 0.1, contrast: 2.0, noise: 0.0, speckle: 0.0 }, 0);
        let mut row = [0.25 / 0.5, 9.0];
        apply(&draw, quantiles(), 0, &mut row, &[1.0, 0.0], &mut [0; 4]);
        // An intensity of 0.5 is mid-grey: contrast leaves it, brightness makes it 0.6, that is (0.6 - 0.25) / 0.5.
        assert!((row[0] - 0.7).abs() < 1e-6);
        assert_eq!(row[1], 0.0, "padding stays 0");
    }
}
