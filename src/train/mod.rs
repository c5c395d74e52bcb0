//! Training.

pub mod config;
mod order;
