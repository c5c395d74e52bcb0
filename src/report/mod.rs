//! Curves, overlays and reports.

mod chart;
mod font;
mod html;
pub mod overlay;
mod training;

pub use training::write_training;
