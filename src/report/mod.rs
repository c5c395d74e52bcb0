//! Curves, overlays and reports.

pub mod overlay;

use crate::error::Result;
use crate::metrics::calibrate::Prediction;
use std::path::Path;

/// Writes the report of a training.
pub fn write_training(_run_dir: &Path, _evaluation: &[Prediction<'_>]) -> Result<()> {
    Ok(())
}
