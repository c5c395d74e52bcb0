//! Metrics per pixel and per object, pooled over sub-images, and the choice of the operating point.

pub mod calibrate;

use serde::{Deserialize, Serialize};

/// Dice, precision, recall and IoU. `None` where there is nothing to divide by: nothing predicted has no precision, never 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub dice: Option<f64>,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub iou: Option<f64>,
}

/// Counts of pixels or of objects, added up over sub-images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub true_positive: u64,
    pub false_positive: u64,
    pub false_negative: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
    }

    pub fn scores(&self) -> Scores {
        todo!()
    }

    /// F_beta = (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP); `None` where the denominator is 0.
    pub fn f_beta(&self, _beta: f64) -> Option<f64> {
        todo!()
    }
}
