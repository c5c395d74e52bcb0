//! An operating point that was chosen, with what it reaches: `calibration.json`.

use super::Counts;
use super::review::Review;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::OperatingPoint;
use serde::{Deserialize, Serialize};

/// With fewer right objects than this, on the series of the choice, a model misleads.
const USELESS_PRECISION: f64 = 0.5;

/// What was chosen, and what it reaches on the validation series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub point: OperatingPoint,
    /// F0.5 of pixels at the chosen point; `None` where nothing is predicted and nothing is there.
    pub f_half: Option<f64>,
    pub pixel_precision: Option<f64>,
    pub object_precision: Option<f64>,
    /// The objects behind it; none in files of older versions.
    #[serde(default)]
    pub objects: Counts,
    /// The precision that was asked for (`--min-precision`), if one was.
    pub min_precision: Option<f64>,
    /// Whether it is reached, for pixels and for objects. `true` if none was asked for.
    pub reached: bool,
    /// From where objects are worth a look; `None` where at no lower threshold a fifth of the further objects is right.
    pub review: Option<Review>,
    /// Precision against recall over the thresholds, all else as at `point`; thresholds ascend.
    pub curve: Vec<CurvePoint>,
}

impl Calibration {
    /// What was chosen and what it reaches `on` some series, in words.
    pub fn describe(&self, on: &str) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "none".into(), |value| format!("{value:.3}"));
        let found = self.objects.true_positive.saturating_add(self.objects.false_positive);
        format!(
            "{}: {on} F0.5 {}, pixel precision {}, object precision {} ({} of {found})",
            self.point.describe(),
            number(self.f_half),
            number(self.pixel_precision),
            number(self.object_precision),
            self.objects.true_positive,
        )
    }

    /// What speaks against relying on it, each with a remedy.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_annotated = self.objects.true_positive > 0 || self.objects.false_negative > 0;
        if self.pixel_precision.is_none() && is_annotated {
            warnings.push(
                "the model has collapsed: it predicts nothing.\n  what to do: train for more epochs, with a lower --lr, or with \
                 a higher --class-weight"
                    .to_string(),
            );
        }
        if self.object_precision.is_some_and(|p| p < USELESS_PRECISION) {
            warnings.push(format!(
                "less than {:.0} % of the objects that are found on these series are right: do not rely on it.\n  what to do: check \
                 the annotations with `inspect`, train for more epochs, or annotate more series",
                100.0 * USELESS_PRECISION
            ));
        }
        if let Some(asked) = self.min_precision {
            let expected = self.objects.expected_precision().filter(|expected| *expected < asked);
            match expected {
                _ if !self.reached => {
                    warnings.push(format!(
                        "a precision of {asked} is not reachable on these series, for pixels and objects both; this comes nearest"
                    ));
                }
                Some(expected) => warnings.push(format!(
                    "a precision of {asked} is reached by few objects: expect {expected:.3} of the next ones to be right.\n  \
                     what to do: annotate more series to choose the threshold on"
                )),
                None => {}
            }
        }
        warnings
    }

    /// Checks that the numbers make sense; a file may say anything.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(&self) -> Result<()> {
        self.point.check()?;
        let thresholds = self.review.iter().map(|review| review.threshold).chain(self.curve.iter().map(|point| point.threshold));
        match thresholds.into_iter().find(|threshold| !(0.0..=1.0).contains(threshold)) {
            None => Ok(()),
            Some(threshold) => Err(Error::new(ErrorKind::Data, format!("expected thresholds from 0 to 1, found {threshold}"))
                .remedy("restore the file from a copy, or train again")),
        }
    }
}

/// What one threshold reaches on the validation series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub threshold: f32,
    pub pixel_precision: Option<f64>,
    pub pixel_recall: Option<f64>,
    pub object_precision: Option<f64>,
    pub object_recall: Option<f64>,
}
