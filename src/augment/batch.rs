//! What a loader hands out: batches for the network, or pictures and draws for a device that augments by itself.

use super::config::AugmentConfig;
use super::prepare::Prepared;
use super::sampler::{Address, Sampler, operation};
use crate::dataset::Sample;
use crate::image::letterbox::Letterbox;
use crate::ops::augment::{Draw, Pictures};

/// The arrays of one batch, NHWC with one channel: `image` standardised; `target` 0, or the number of the instance from 1 (with one
/// output channel 1 in any instance); `weight` 0 on padding and on instances that are too many for the channels.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub image: Vec<f32>,
    pub target: Vec<f32>,
    pub weight: Vec<f32>,
    /// Index into the samples of each image of the batch, in order; shorter than the batch where the rest is padding.
    pub samples: Vec<usize>,
}

/// The operands of [`crate::ops::augment::Augment`] for one batch: what its images are made of.
#[derive(Clone, Debug, Default)]
pub struct RawBatch {
    /// [N, 1, 1, C]: each standardised picture at the beginning of its row.
    pub content: Vec<f32>,
    /// [N, 1, 1, L]: labels of its source, likewise.
    pub labels: Vec<u8>,
    /// [N, 1, 1, 112].
    pub draws: Vec<Draw>,
    /// [N, 2, rows, columns].
    pub control: Vec<f32>,
    /// Index into the samples of each image of the batch, in order; shorter than the batch where the rest is padding.
    pub samples: Vec<usize>,
}

impl RawBatch {
    /// Buffers for `n` images.
    pub fn new(pictures: &Pictures, n: usize) -> RawBatch {
        let [content, labels, _, control] = pictures.inputs(n).map(|(_, shape, _)| shape.len());
        RawBatch {
            content: vec![0.0; content],
            labels: vec![0; labels],
            draws: vec![Draw::nothing(); n],
            control: vec![0.0; control],
            samples: Vec::with_capacity(n),
        }
    }
}

impl Pictures {
    /// Those of `samples`, for inputs of width and height `size`. Without `augment` they are letterboxed only.
    pub fn of(samples: &[Sample], size: [usize; 2], augment: Option<&AugmentConfig>) -> Pictures {
        let of_sample = |sample: &Sample| {
            let source = [sample.image.width, sample.image.height];
            (Letterbox::fit(source, size).content_size().iter().product(), source.iter().product())
        };
        let largest = |a: (usize, usize), b: (usize, usize)| (a.0.max(b.0), a.1.max(b.1));
        let (content, labels) = samples.iter().map(of_sample).fold((1, 1), largest);
        Pictures { augment: operation(size, augment), content, labels }
    }
}

/// Buffers of a batch, filled image by image by a loader's workers.
pub trait Buffers: Default + Send + 'static {
    /// Makes image `i` of `n` from a sample at an address, or from `None` padding, with a weight of 0 everywhere.
    fn set(&mut self, place: [usize; 2], sampler: &mut Sampler, item: Option<(&Prepared, Address)>);

    /// Indices of the samples.
    fn samples(&mut self) -> &mut Vec<usize>;

    /// Bytes that it holds.
    fn bytes(&self) -> usize;
}

/// Image `i` of `n`.
fn of_image<T>(values: &mut [T], [i, n]: [usize; 2]) -> &mut [T] {
    let len = values.len() / n;
    &mut values[i * len..][..len]
}

impl Batch {
    pub(super) fn new(n_images: usize, n_pixels: usize) -> Batch {
        let zeros = || vec![0.0; n_images * n_pixels];
        Batch { image: zeros(), target: zeros(), weight: zeros(), samples: Vec::with_capacity(n_images) }
    }
}

impl Buffers for Batch {
    fn set(&mut self, place: [usize; 2], sampler: &mut Sampler, item: Option<(&Prepared, Address)>) {
        let [image, target, weight] = [&mut self.image, &mut self.target, &mut self.weight].map(|values| of_image(values, place));
        match item {
            Some((prepared, address)) => sampler.fill(prepared, address, image, target, weight),
            None => [image, target, weight].into_iter().for_each(|values| values.fill(0.0)),
        }
    }

    fn samples(&mut self) -> &mut Vec<usize> {
        &mut self.samples
    }

    fn bytes(&self) -> usize {
        let values = self.image.capacity() + self.target.capacity() + self.weight.capacity();
        values * size_of::<f32>() + self.samples.capacity() * size_of::<usize>()
    }
}

impl Buffers for RawBatch {
    fn set(&mut self, place: [usize; 2], sampler: &mut Sampler, item: Option<(&Prepared, Address)>) {
        let [i, _] = place;
        let Some((prepared, address)) = item else {
            self.draws[i] = Draw::nothing();
            return;
        };
        let draw = sampler.draw(prepared, address);
        of_image(&mut self.content, place)[..prepared.content.pixels.len()].copy_from_slice(&prepared.content.pixels);
        of_image(&mut self.labels, place)[..prepared.labels.len()].copy_from_slice(&prepared.labels);
        if draw.is_elastic != 0 {
            of_image(&mut self.control, place).copy_from_slice(sampler.control());
        }
        self.draws[i] = draw;
    }

    fn samples(&mut self) -> &mut Vec<usize> {
        &mut self.samples
    }

    fn bytes(&self) -> usize {
        let values = self.content.capacity() + self.control.capacity();
        let draws = self.draws.capacity() * size_of::<Draw>();
        values * size_of::<f32>() + self.labels.capacity() + draws + self.samples.capacity() * size_of::<usize>()
    }
}
