//! Measures the CUDA kernels, layer shape by layer shape: time against what the device can do, and against cuDNN; error against f64.
//!
//! The shapes are read off the recorded networks ([`case`]), operands hold random numbers that are a function of their place ([`data`]), and
//! sampled outputs ([`sample`]) are compared with sums in f64 ([`mod@reference`]).

pub mod case;
#[cfg(feature = "cuda")]
mod cudnn;
pub mod data;
#[cfg(feature = "cuda")]
pub mod kernels;
#[cfg(feature = "cuda")]
pub mod measure;
pub mod occupancy;
pub mod peaks;
pub mod reference;
pub mod resources;
#[cfg(feature = "cuda")]
pub mod roofline;
pub mod sample;
pub mod statistics;
#[cfg(feature = "cuda")]
pub mod table;
pub mod torch;
pub mod traffic;
