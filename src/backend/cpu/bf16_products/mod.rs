//! Convolutions of images that are stored as bf16, by matrix units where the CPU has them.
//!
//! ```text
//! panel    pixels of a band of rows, zeros around them, as positions one after another: [block of 32 features][position][32]
//! product  32 positions or channels times 32 channels or features, summed over steps of 32: the micro-kernel
//! ```
//!
//! A position is a row of the left matrix, and the tap of a kernel only a distance between positions: position p and tap (r, s) meet
//! at p + r pitch + s. So no tile knows where rows of the image end; what lies between two rows is computed and not stored. Few
//! channels are laid side by side with their neighbours' ([`window::Window`]), so that a step of 32 is not mostly zeros.
//!
//! Where positions are what is summed over, blocks of features are laid out straight from the image where its rows allow it
//! ([`weight_grad_cut`]).
//!
//! Products are exact in f32 and sums are f32; only results are rounded to bf16. AMX takes subnormal numbers, and leaves them, as 0. All sums go
//! in an order given by the shape alone.

mod convolution;
mod cut;
mod layout;
mod operations;
mod panel;
mod product;
mod target;
#[cfg(test)]
mod tests;
mod weight_grad;
mod weight_grad_cut;
mod weights;
mod window;

pub(super) use operations::{run, scratch};
