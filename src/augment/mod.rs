//! Augmentation: one composed geometric transform sampled once, then intensities; batches prepared ahead by worker threads.
//!
//! The same transform moves picture and masks. It maps each pixel centre of the network's input to a point of the sub-image, so
//! letterbox, crop, pad, rotation, scaling, shear, flips, translation and elastic deformation are one map, and the picture is
//! interpolated once. Random numbers are addressed by (seed, epoch, image, purpose): the same image of the same epoch comes out the
//! same, bit for bit, whichever thread prepares it, and after a resume.
//!
//! On the CPU the loader's threads do all of it ([`Batch`]). For a device that augments by itself they only draw: a [`RawBatch`] holds
//! pictures, labels and draws, and the plan begins with [`crate::ops::augment`], which makes the same bits of them.

mod batch;
mod config;
mod intensity;
mod loader;
mod prepare;
mod preview;
mod render;
mod sampler;
mod transform;

pub use batch::{Batch, Buffers, RawBatch};
pub use config::AugmentConfig;
pub(crate) use intensity::mirrored;
pub use intensity::upper_quantiles;
pub use loader::{Loader, LoaderOptions};
pub use prepare::{Normalization, Prepared, prepare};
pub use preview::{View, preview};
pub(crate) use render::{Material, render, scratch_len};
pub use sampler::{Address, Sampler};
pub use transform::Transform;
