//! Augmentation: one composed geometric transform sampled once, then intensities; batches prepared ahead by worker threads.

use crate::dataset::Sample;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Ranges of all augmentations (in TOML: `[augment]`). Filled in with one field per transform and range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {}

impl Default for AugmentConfig {
    fn default() -> Self {
        AugmentConfig {}
    }
}

/// Intensities over the training set after the percentile stretch; kept with the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    pub mean: f32,
    pub deviation: f32,
}

/// The arrays of one batch, NHWC with one channel: `image` standardised, `target` 0 or 1, `weight` 0 on padding.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub image: Vec<f32>,
    pub target: Vec<f32>,
    pub weight: Vec<f32>,
    /// Index into the samples of each image of the batch, in order.
    pub samples: Vec<usize>,
}

/// What is to be prepared, in order: (epoch, sample index) pairs, `batch` at a time.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    pub batch: usize,
    /// Width and height of the network's input.
    pub size: [usize; 2],
    pub seed: u64,
    pub workers: usize,
    /// `None`: letterbox only (validation).
    pub augment: Option<AugmentConfig>,
    pub normalization: Normalization,
}

/// Prepares batches ahead of the step in worker threads, in the order asked for, in buffers that are used again and again.
pub struct Loader {}

impl Loader {
    /// Starts the workers.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn new(_samples: Arc<Vec<Sample>>, _options: LoaderOptions) -> Result<Loader> {
        todo!()
    }

    /// Sets what comes next: for each image its epoch (an address of the random numbers) and its sample. Batches are cut from it in
    /// order; a last short batch is padded with weight 0.
    pub fn enqueue(&mut self, _order: &[(u32, usize)]) {
        todo!()
    }

    /// The next batch, waiting for it if need be; valid until the next call. `None` when the order is used up.
    pub fn next(&mut self) -> Option<&Batch> {
        todo!()
    }

    /// Bytes of all host buffers, for the memory receipt.
    pub fn host_bytes(&self) -> usize {
        todo!()
    }
}
