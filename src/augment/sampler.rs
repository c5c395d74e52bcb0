//! One image of a batch: transform, sampling and intensities, in buffers that are used again and again.

use super::config::AugmentConfig;
use super::intensity::{self, Intensity, NoiseAddress};
use super::prepare::{Normalization, Prepared, SURPLUS};
use super::transform::{Elastic, Transform};
use crate::image::letterbox::{is_inside, sample_row};
use crate::random::{Philox, Purpose};

/// The address of an image's random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub seed: u64,
    pub epoch: u32,
    pub image: u32,
}

/// Samples images for inputs of one size.
#[derive(Clone, Debug)]
pub struct Sampler {
    size: [usize; 2],
    augment: Option<AugmentConfig>,
    normalization: Normalization,
    elastic: Elastic,
    xs: Vec<f32>,
    ys: Vec<f32>,
    words: Vec<u32>,
}

impl Sampler {
    /// A sampler for inputs of width and height `size`; without `augment` it letterboxes only.
    pub fn new(size: [usize; 2], augment: Option<AugmentConfig>, normalization: Normalization) -> Sampler {
        intensity::warm_up();
        let spacing = augment.as_ref().map_or(size[0].max(1) as f32, |a| a.elastic_spacing);
        let elastic = Elastic::new(size, spacing);
        let words = vec![0; intensity::words_per_row(size[0])];
        Sampler { size, augment, normalization, elastic, xs: vec![0.0; size[0]], ys: vec![0.0; size[0]], words }
    }

    /// Draws the transform at `address` and samples `prepared` with it: the standardised picture (0 on padding), the target (0, or the
    /// label of the instance) and the weight (0 on padding and on surplus instances), each of the input's size, row by row.
    pub fn fill(&mut self, prepared: &Prepared, address: Address, image: &mut [f32], target: &mut [f32], weight: &mut [f32]) {
        assert_eq!(prepared.letterbox.input, self.size, "a sample prepared for this sampler's input");
        let Address { seed, epoch, image: index } = address;
        let stream = |purpose| Philox::new(seed, epoch, index, purpose);
        let (transform, intensity) = match &self.augment {
            None => (Transform::letterbox(&prepared.letterbox), None),
            Some(config) => {
                let transform = Transform::draw(config, &prepared.letterbox, &mut stream(Purpose::Geometry));
                let intensity = Intensity::draw(config, &mut stream(Purpose::Intensity));
                (transform, (!intensity.is_identity()).then_some(intensity))
            }
        };
        if transform.elastic > 0.0 {
            self.elastic.draw(transform.elastic, &mut stream(Purpose::Elastic));
        }
        let width = self.size[0];
        let rows = image.chunks_exact_mut(width).zip(target.chunks_exact_mut(width)).zip(weight.chunks_exact_mut(width));
        for (y, ((image, target), weight)) in rows.enumerate() {
            self.geometry(prepared, &transform, y, image, target, weight);
            if let Some(intensity) = &intensity {
                let noise = NoiseAddress { seed, epoch, image: index };
                intensity.apply(self.normalization, noise, y, image, weight, &mut self.words);
            }
            // Only now: the network sees surplus instances, with noise like everything else; the loss does not.
            for (target, weight) in target.iter_mut().zip(weight).filter(|(target, _)| **target == f32::from(SURPLUS)) {
                (*target, *weight) = (0.0, 0.0);
            }
        }
    }

    /// Samples row `y`.
    fn geometry(
        &mut self,
        prepared: &Prepared,
        transform: &Transform,
        y: usize,
        image: &mut [f32],
        target: &mut [f32],
        weight: &mut [f32],
    ) {
        transform.map.row(y, &mut self.xs, &mut self.ys);
        if transform.elastic > 0.0 {
            self.elastic.displace(&transform.map, y, &mut self.xs, &mut self.ys);
        }
        let source = prepared.letterbox.source;
        sample_row(&prepared.content, source, &self.xs, &self.ys, image, weight);
        for ((target, &x), &y) in target.iter_mut().zip(&self.xs).zip(&self.ys) {
            let label =
                if is_inside(source, x, y) { prepared.labels[y as i32 as usize * source[0] + x as i32 as usize] } else { 0 };
            *target = f32::from(label);
        }
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        self.elastic.bytes() + (self.xs.capacity() + self.ys.capacity() + self.words.capacity()) * 4
    }
}
