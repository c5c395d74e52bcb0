//! Metrics per pixel and per object, pooled over sub-images, and the choice of the operating point.
//!
//! With TP, FP, FN the counts of true positives, false positives and false negatives:
//! precision = TP / (TP + FP), recall = TP / (TP + FN), Dice = F1 = 2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN).

pub mod calibrate;
pub mod calibration;
mod evaluation;
mod objects;
pub mod review;
#[cfg(test)]
mod tests;

pub use evaluation::{Evaluation, ImageCounts, SeriesEvaluation, evaluate, image_counts};
pub use objects::match_objects;

use crate::geometry::Mask;
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
    /// The counts of two masks of one size, pixel by pixel.
    pub fn of_pixels(predicted: &Mask, truth: &Mask) -> Counts {
        assert_eq!((predicted.width(), predicted.height()), (truth.width(), truth.height()), "masks of one size");
        let mut counts = Counts::default();
        for (&p, &t) in predicted.pixels().iter().zip(truth.pixels()) {
            counts.true_positive += u64::from(p & t);
            counts.false_positive += u64::from(p & (1 - t));
            counts.false_negative += u64::from(t & (1 - p));
        }
        counts
    }

    pub fn add(&mut self, other: Counts) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
    }

    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive as f64, (self.true_positive + self.false_positive) as f64)
    }

    /// The precision to expect of the next ones: (TP + 1) / (TP + FP + 2), Laplace's rule of succession, the mean of precision's
    /// distribution where every precision was as likely before counting. 15 right of 15 promise 0.94, not 1. `None` where none was found.
    pub fn expected_precision(&self) -> Option<f64> {
        let (right, wrong) = (self.true_positive as f64, self.false_positive as f64);
        (right + wrong > 0.0).then(|| (right + 1.0) / (right + wrong + 2.0))
    }

    pub fn scores(&self) -> Scores {
        let tp = self.true_positive as f64;
        Scores {
            dice: self.f_beta(1.0),
            precision: self.precision(),
            recall: ratio(tp, (self.true_positive + self.false_negative) as f64),
            iou: ratio(tp, (self.true_positive + self.false_positive + self.false_negative) as f64),
        }
    }

    /// F_beta = (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP); `None` where the denominator is 0.
    pub fn f_beta(&self, beta: f64) -> Option<f64> {
        let squared = beta * beta;
        let hits = (1.0 + squared) * self.true_positive as f64;
        ratio(hits, hits + squared * self.false_negative as f64 + self.false_positive as f64)
    }
}

fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

/// The union of masks of `width` x `height` pixels.
pub fn union<'a>(width: usize, height: usize, masks: impl IntoIterator<Item = &'a Mask>) -> Mask {
    let mut union = Mask::new(width, height);
    masks.into_iter().for_each(|mask| union.union_with(mask));
    union
}
