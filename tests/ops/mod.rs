//! Every instruction of a backend against the f64 reference and against finite differences, over hostile shapes.
//!
//! A module a stem of `src/ops`; each says how a case is made and how exact f32 can be. [`harness`] runs a case as a plan of one
//! step, on memory full of NaN, with sentinels behind every slot.

mod adam;
mod assign;
mod augment;
mod batch_norm;
mod cast;
mod channel_sum;
mod check_finite;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod dice_bce;
mod elementwise;
#[cfg(feature = "cuda")]
pub mod emulator;
mod finite_differences;
mod harness;
mod max_pool2d;
mod sabotage;
#[cfg(feature = "cuda")]
mod tiles;
#[cfg(feature = "cuda")]
mod traffic;
