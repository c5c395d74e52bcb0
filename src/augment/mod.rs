//! Augmentation: one composed geometric transform sampled once, then intensities; batches prepared ahead by worker threads.
//!
//! The same transform moves picture and masks. It maps each pixel centre of the network's input to a point of the sub-image, so
//! letterbox, crop, pad, rotation, scaling, shear, flips, translation and elastic deformation are one map, and the picture is
//! interpolated once. Random numbers are addressed by (seed, epoch, image, purpose): the same image of the same epoch comes out the
//! same, bit for bit, whichever thread prepares it, and after a resume.

mod config;
mod intensity;
mod loader;
mod prepare;
mod preview;
mod sampler;
mod transform;

pub use config::AugmentConfig;
pub use loader::{Batch, Loader, LoaderOptions};
pub use prepare::{Normalization, Prepared, prepare};
pub use preview::{View, preview};
pub use sampler::{Address, Sampler};
pub use transform::Transform;
