//! The synthetic data must not be trivial: Otsu's threshold and the largest components do not find the organs.

use unet_engine::dataset::synth::render::{ORGANS, picture};
use unet_engine::dataset::synth::scene::{Litter, N_ANGLES};
use unet_engine::geometry::Mask;

/// The threshold that separates 8-bit intensities best (Otsu 1979: the largest variance between the two classes).
fn otsu(pixels: &[f32]) -> f32 {
    let mut histogram = [0.0f64; 256];
    pixels.iter().for_each(|&p| histogram[p as usize] += 1.0);
    let (n, total) = (pixels.len() as f64, (0..256).map(|v| v as f64 * histogram[v]).sum::<f64>());
    let (mut below, mut sum, mut best) = (0.0, 0.0, (0.0, 0.0));
    for (value, count) in histogram.iter().enumerate().take(255) {
        below += count;
        sum += value as f64 * count;
        if below > 0.0 && below < n {
            let variance = (total * below / n - sum).powi(2) / (below * (n - below));
            if variance > best.0 {
                best = (variance, value as f64);
            }
        }
    }
    best.1 as f32
}

/// The parts of `inside` whose pixels touch by their sides, largest first.
fn components(inside: &[bool], width: usize) -> Vec<Vec<usize>> {
    let mut left = inside.to_vec();
    let mut parts = Vec::new();
    for start in 0..left.len() {
        if !std::mem::take(&mut left[start]) {
            continue;
        }
        let mut part = vec![start];
        let mut next = 0;
        while next < part.len() {
            let i = part[next];
            next += 1;
            let x = i % width;
            let around = [(x > 0).then(|| i - 1), (x + 1 < width).then_some(i + 1), i.checked_sub(width), Some(i + width)];
            for j in around.into_iter().flatten().filter(|&j| j < inside.len()) {
                if std::mem::take(&mut left[j]) {
                    part.push(j);
                }
            }
        }
        parts.push(part);
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

/// Pooled Dice counts of an attempt: pixels in common, pixels of both.
#[derive(Clone, Copy, Default)]
struct Overlap {
    common: usize,
    both: usize,
}

impl Overlap {
    fn add(&mut self, found: &[usize], truth: &Mask) {
        self.common += found.iter().filter(|&&i| truth.pixels()[i] != 0).count();
        self.both += found.len() + truth.area();
    }

    fn dice(self) -> f64 {
        2.0 * self.common as f64 / self.both.max(1) as f64
    }
}

#[test]
fn threshold_and_largest_components_do_not_find_the_organs() {
    const SIZE: usize = 96;
    // Every polarity and number of components is an attempt; the best one must fail.
    const KEPT: [usize; 5] = [1, 2, 3, 5, 8];
    let mut overlaps = [[Overlap::default(); 2 * KEPT.len()]; 3];
    for series in 0..3 {
        let litter = Litter::draw(1, series);
        for angle in 0..N_ANGLES {
            let picture = picture(&litter, 1, series, angle, SIZE);
            let threshold = otsu(&picture.image.pixels);
            for (polarity, is_bright) in [true, false].into_iter().enumerate() {
                let inside: Vec<bool> = picture.image.pixels.iter().map(|&p| (p > threshold) == is_bright).collect();
                let parts = components(&inside, SIZE);
                for (k, n) in KEPT.into_iter().enumerate() {
                    let found: Vec<usize> = parts.iter().take(n).flatten().copied().collect();
                    for (organ, overlaps) in overlaps.iter_mut().enumerate() {
                        let mut truth = Mask::new(SIZE, SIZE);
                        picture.organs[organ].iter().for_each(|mask| truth.union_with(mask));
                        overlaps[polarity * KEPT.len() + k].add(&found, &truth);
                    }
                }
            }
        }
    }
    for (organ, overlaps) in ORGANS.iter().zip(&overlaps) {
        let best = overlaps.iter().map(|o| o.dice()).fold(0.0, f64::max);
        println!("Otsu's threshold and the largest components, best of 10 ways: {organ} Dice {best:.3}");
        assert!(best > 0.0 && best < 0.5, "{organ}: Dice {best:.3}");
    }
}
