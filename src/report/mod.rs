//! Curves, overlays and reports.

mod chart;
mod font;
mod html;
pub mod overlay;
mod precision_recall;
mod prediction;
mod training;

pub use prediction::{SeriesReport, SeriesRow, write_predictions};
pub use training::write_training;
