//! Checkpoints: named tensors with a description of the network and the state of the training, in safetensors files that are whole
//! or absent; and the model that a run directory is.
//!
//! Below both [`crate::train`], which writes them, and [`crate::predict`], which reads them.

mod file;
mod model;
pub mod pytorch;

pub use file::{Checkpoint, Tensor, checksum, read, write};
pub(crate) use file::{RESTORE, keep_as, stored_checksum, verified_checksum};
pub use model::{CalibrationFile, Description, Model, RunFiles, open_best, run_name, weights_of};
