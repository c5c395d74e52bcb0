//! Augmentation seen from outside: geometry, and the batches that a loader hands out.

mod geometry;
mod loader;
mod preview;

use unet_engine::augment::{Address, AugmentConfig, Normalization, Prepared, Sampler};
use unet_engine::dataset::Sample;
use unet_engine::geometry::Mask;
use unet_engine::image::Gray;

const PLAIN: Normalization = Normalization { mean: 0.0, deviation: 1.0 };

/// A picture of 0 and 1 that is its own mask: two ellipses and a bar, no symmetry.
fn blobs(width: usize, height: usize) -> Sample {
    let inside = |i: usize| {
        let (x, y) = ((i % width) as f64 / width as f64, (i / width) as f64 / height as f64);
        let ellipse = |cx: f64, cy: f64, a: f64, b: f64| ((x - cx) / a).powi(2) + ((y - cy) / b).powi(2) < 1.0;
        ellipse(0.4, 0.45, 0.17, 0.1) || ellipse(0.62, 0.6, 0.08, 0.16) || (0.3..0.36).contains(&x) && (0.5..0.75).contains(&y)
    };
    let pixels: Vec<u8> = (0..width * height).map(|i| u8::from(inside(i))).collect();
    let image = Gray::new(width, height, pixels.iter().map(|&p| f32::from(p)).collect());
    let instances = vec![Mask::from_pixels(width, height, pixels)];
    Sample { series: "blobs".into(), sub_image: 1, image, instances, digest: [0; 32] }
}

/// A picture of many intensities; everything is organ.
fn texture(width: usize, height: usize) -> Sample {
    let image = Gray::new(width, height, (0..width * height).map(|i| ((i * 7919) % 251) as f32).collect());
    let instances = vec![Mask::from_pixels(width, height, vec![1; width * height])];
    Sample { series: "texture".into(), sub_image: 1, image, instances, digest: [0; 32] }
}

/// Image, target and weight of one image.
fn sampled(sample: &Sample, size: [usize; 2], augment: Option<AugmentConfig>, image: u32) -> [Vec<f32>; 3] {
    let prepared = Prepared::new(sample, size, PLAIN, 1);
    let mut arrays = [(); 3].map(|()| vec![0.0; size[0] * size[1]]);
    let [picture, target, weight] = &mut arrays;
    let address = Address { seed: 11, epoch: 2, image };
    Sampler::new(size, augment, PLAIN).fill(&prepared, address, picture, target, weight);
    arrays
}
