//! What precision costs in recall: objects just below the threshold, for a person to look through.
//!
//! At a lower threshold more objects are found, and more of them are wrong. Those that share no pixel with an accepted object are
//! candidates for review. How many of them are right on the validation series says what to expect of them.

use super::Counts;
use super::calibrate::Prediction;
use super::objects::match_objects;
use crate::geometry::Mask;
use crate::segment::{Instance, OperatingPoint, instances_by_channel};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Recall of objects weighs this many times more than their precision in the choice of the review threshold: F2 (van Rijsbergen 1979).
const REVIEW_BETA: f64 = 2.0;

/// Of the objects for review at least this share must be right, or nobody will look through them.
const PRECISION_MIN: f64 = 0.2;

/// From which probability objects are worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    pub threshold: f32,
    /// The share of the objects for review that is right on the validation series (IoU of at least 0.5 with an annotated object);
    /// `None` where there are none.
    pub object_precision: Option<f64>,
    /// The objects for review behind it: right ones and wrong ones; none in files of older versions.
    #[serde(default)]
    pub objects: Counts,
}

impl Review {
    /// The best of `thresholds` (all below that of `point`, ascending), by F2 over the objects that `point` misses: what is for review
    /// should be what precision cost, and not much else. `accepted` is what `point` reaches. `None` where at none of them a fifth is right.
    pub(super) fn choose(
        predictions: &[Prediction<'_>],
        point: &OperatingPoint,
        accepted: Counts,
        thresholds: &[f32],
    ) -> Option<Review> {
        let found: Vec<Vec<Instance>> = predictions.par_iter().map(|p| instances(p, point)).collect();
        let mut best: Option<(f64, Review)> = None;
        for &threshold in thresholds {
            let objects = judge(predictions, &found, &OperatingPoint { threshold, ..*point });
            let still_missed = accepted.false_negative.saturating_sub(objects.true_positive);
            let value = Counts { false_negative: still_missed, ..objects }.f_beta(REVIEW_BETA).unwrap_or(0.0);
            // Among equals the highest threshold: its outlines are the tightest.
            let is_worth_a_look = objects.precision().is_some_and(|precision| precision >= PRECISION_MIN);
            if is_worth_a_look && best.is_none_or(|(before, _)| value >= before) {
                best = Some((value, Review { threshold, object_precision: objects.precision(), objects }));
            }
        }
        best.map(|(_, review)| review)
    }
}

/// How many of the objects at `lower` that share nothing with the accepted ones are right, and how many wrong.
fn judge(predictions: &[Prediction<'_>], accepted: &[Vec<Instance>], lower: &OperatingPoint) -> Counts {
    let of_image = |(p, accepted): (&Prediction<'_>, &Vec<Instance>)| {
        let candidates = for_review(accepted, instances(p, lower));
        let masks: Vec<&Mask> = candidates.iter().map(|instance| &instance.mask).collect();
        // What is annotated and not found is no part of this: most of it is accepted.
        Counts { false_negative: 0, ..match_objects(&masks, &p.sample.instances) }
    };
    let counts: Vec<Counts> = predictions.par_iter().zip(accepted).map(of_image).collect();
    let mut objects = Counts::default();
    counts.into_iter().for_each(|image| objects.add(image));
    objects
}

fn instances(prediction: &Prediction<'_>, point: &OperatingPoint) -> Vec<Instance> {
    let (width, height) = (prediction.sample.image.width, prediction.sample.image.height);
    instances_by_channel(&prediction.probability, &prediction.channels, width, height, point)
}

/// Of the objects at a lower threshold those that share no pixel with an accepted one.
pub fn for_review(accepted: &[Instance], lower: Vec<Instance>) -> Vec<Instance> {
    let shares = |instance: &Instance| {
        accepted.iter().any(|other| other.mask.pixels().iter().zip(instance.mask.pixels()).any(|(a, b)| a & b != 0))
    };
    lower.into_iter().filter(|instance| !shares(instance)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Sample;
    use crate::image::Gray;

    /// Four squares: sure and right, doubtful and right, doubtful and wrong, and a doubtful fringe around the sure one.
    #[test]
    fn what_is_accepted_is_not_for_review() {
        let (width, height) = (40, 20);
        let square = |left: usize| {
            let mut mask = Mask::new(width, height);
            (5..11).for_each(|y| mask.set_span(y, left as i64, left as i64 + 6));
            mask
        };
        let image = Gray::new(width, height, vec![0.0; width * height]);
        let instances = vec![square(2), square(14)];
        let sample = Sample { series: "s".into(), sub_image: 1, image, instances, digest: [0; 32] };
        let mut probability = vec![0.0; width * height];
        for (left, value) in [(14, 0.4), (26, 0.4), (2, 0.9)] {
            let mask = square(left);
            (0..probability.len()).filter(|i| mask.pixels()[*i] != 0).for_each(|i| probability[i] = value);
        }
        probability[4 * width + 3] = 0.4;
        let prediction = Prediction { sample: &sample, probability, channels: Vec::new() };
        let point = OperatingPoint { threshold: 0.5, min_area: 4, opening: 0, closing: 0, fill_holes: true };
        let accepted = Counts { true_positive: 1, false_positive: 0, false_negative: 1 };
        let choose = |thresholds: &[f32]| Review::choose(std::slice::from_ref(&prediction), &point, accepted, thresholds);
        let objects = Counts { true_positive: 1, false_positive: 1, false_negative: 0 };
        let review = Review { threshold: 0.35, object_precision: Some(0.5), objects };
        assert_eq!(choose(&[0.3, 0.35, 0.45]), Some(review), "the highest of those that find the missed one");
        assert_eq!(choose(&[0.45]), None, "nothing more is found there");
    }
}
