//! Where a training's batches come from.

use super::engine::Inputs;
use crate::augment::{Batch, Loader, LoaderOptions, RawBatch};
use crate::dataset::Sample;
use crate::error::Result;
use crate::ops::augment::Pictures;
use std::sync::Arc;

/// The loader of the training set, by who augments.
pub(crate) enum Feed {
    /// The loader's threads.
    Host(Loader<Batch>),
    /// The device; the threads only draw.
    Device(Loader<RawBatch>),
}

impl Feed {
    /// Starts the loader; `pictures` are those that the plan augments, if it does.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn new(samples: Arc<Vec<Sample>>, options: LoaderOptions, pictures: Option<&Pictures>) -> Result<Feed> {
        Ok(match pictures {
            None => Feed::Host(Loader::new(samples, options)?),
            Some(pictures) => Feed::Device(Loader::raw(samples, options, pictures)?),
        })
    }

    /// As [`Loader::enqueue`].
    pub fn enqueue(&mut self, order: &[(u32, usize)]) {
        match self {
            Feed::Host(loader) => loader.enqueue(order),
            Feed::Device(loader) => loader.enqueue(order),
        }
    }

    /// As [`Loader::next`].
    pub fn next(&mut self) -> Result<Option<Inputs<'_>>> {
        Ok(match self {
            Feed::Host(loader) => loader.next()?.map(Inputs::from),
            Feed::Device(loader) => loader.next()?.map(Inputs::from),
        })
    }

    pub fn host_bytes(&self) -> usize {
        match self {
            Feed::Host(loader) => loader.host_bytes(),
            Feed::Device(loader) => loader.host_bytes(),
        }
    }
}
