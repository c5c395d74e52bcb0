//! One image of a batch: its draw, and the image made of it, in buffers that are used again and again.

use super::config::AugmentConfig;
use super::intensity::{self, Intensity};
use super::prepare::{Normalization, Prepared};
use super::render::{Material, render, scratch_len};
use super::transform::{Transform, draw_control};
use crate::ops::augment::{Augment, Draw, MIN_SPACING};
use crate::random::{Philox, Purpose};

/// The address of an image's random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub seed: u64,
    pub epoch: u32,
    pub image: u32,
}

/// The operation that makes inputs of width and height `size`; without `augment` it letterboxes only.
pub(super) fn operation([width, height]: [usize; 2], augment: Option<&AugmentConfig>) -> Augment {
    // Without elastic deformation nobody reads the control points: as few as can be.
    let spacing = augment.map_or((width as f32).max(MIN_SPACING), |config| config.elastic_spacing);
    Augment { height, width, spacing }
}

/// Samples images for inputs of one size.
#[derive(Clone, Debug)]
pub struct Sampler {
    operation: Augment,
    augment: Option<AugmentConfig>,
    normalization: Normalization,
    /// [2, rows, columns]: those of the last elastic draw.
    control: Vec<f32>,
    scratch: Vec<f32>,
}

impl Sampler {
    /// A sampler for inputs of width and height `size`; without `augment` it letterboxes only.
    pub fn new(size: [usize; 2], augment: Option<AugmentConfig>, normalization: Normalization) -> Sampler {
        // So that no step pays for the table.
        intensity::quantiles();
        let operation = operation(size, augment.as_ref());
        let control = vec![0.0; 2 * operation.control().iter().product::<usize>()];
        let scratch = vec![0.0; scratch_len(&operation)];
        Sampler { operation, augment, normalization, control, scratch }
    }

    /// Draws all parameters at `address` but for the noise of each pixel, and the control points if the draw is elastic.
    pub fn draw(&mut self, prepared: &Prepared, address: Address) -> Draw {
        let letterbox = &prepared.letterbox;
        assert_eq!(letterbox.input, [self.operation.width, self.operation.height], "a sample prepared for this sampler's input");
        let Address { seed, epoch, image } = address;
        let stream = |purpose| Philox::new(seed, epoch, image, purpose);
        let mut draw = Draw {
            source: letterbox.source.map(|size| size as u32),
            content: [prepared.content.width, prepared.content.height].map(|size| size as u32),
            seed: [seed as u32, (seed >> 32) as u32],
            epoch,
            image,
            ..Draw::nothing()
        };
        let transform = match &self.augment {
            None => Transform::letterbox(letterbox),
            Some(config) => {
                Intensity::draw(config, &mut stream(Purpose::Intensity)).put(self.normalization, &mut draw);
                Transform::draw(config, letterbox, &mut stream(Purpose::Geometry))
            }
        };
        draw.map = transform.map.0;
        if transform.elastic > 0.0 {
            draw.is_elastic = 1;
            draw_control(transform.elastic, &mut self.control, &mut stream(Purpose::Elastic));
        }
        draw
    }

    /// The control points [2, rows, columns] of the last elastic draw.
    pub fn control(&self) -> &[f32] {
        &self.control
    }

    /// Draws the transform at `address` and samples `prepared` with it: the standardised picture (0 on padding), the target (0, or the
    /// label of the instance) and the weight (0 on padding and on surplus instances), each of the input's size, row by row.
    pub fn fill(&mut self, prepared: &Prepared, address: Address, image: &mut [f32], target: &mut [f32], weight: &mut [f32]) {
        let draw = self.draw(prepared, address);
        let from = Material {
            content: &prepared.content.pixels,
            labels: &prepared.labels,
            control: &self.control,
            quantiles: intensity::quantiles(),
        };
        render(&self.operation, &draw, from, [image, target, weight], &mut self.scratch);
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        (self.control.capacity() + self.scratch.capacity()) * size_of::<f32>()
    }
}
