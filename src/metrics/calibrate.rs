//! The choice of threshold and smallest object on the validation series: precision first.

use crate::dataset::Sample;
use crate::segment::OperatingPoint;
use serde::{Deserialize, Serialize};

/// A validation sub-image with its predicted probabilities, in original pixels.
pub struct Prediction<'a> {
    pub sample: &'a Sample,
    /// Row by row, of the sub-image's size.
    pub probability: Vec<f32>,
}

/// What was chosen, and what it reaches on the validation series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub point: OperatingPoint,
    /// F0.5 of pixels at the chosen point; `None` where nothing is predicted and nothing is there.
    pub f_half: Option<f64>,
    pub pixel_precision: Option<f64>,
    pub object_precision: Option<f64>,
    /// The precision that was asked for (`--min-precision`), if one was.
    pub min_precision: Option<f64>,
    /// Whether it is reached, for pixels and for objects. `true` if none was asked for.
    pub reached: bool,
}

/// Chooses the operating point with the best pixel F0.5, among those whose pixel and object precision are at least `min_precision`
/// where one is asked for; where none reaches it, the one with the highest precision, and `reached` is false.
pub fn calibrate(_predictions: &[Prediction<'_>], _min_precision: Option<f64>) -> Calibration {
    todo!()
}
