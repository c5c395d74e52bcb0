//! Metrics of predicted objects over sub-images: pooled, per series, and the mean over images.

use super::{Counts, Scores, match_objects, union};
use crate::dataset::Sample;
use crate::segment::Instance;
use serde::Serialize;

/// What was found in one sub-image, against its annotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageCounts {
    pub pixels: Counts,
    pub objects: Counts,
    /// Whether the organ is annotated in it.
    pub holds_organ: bool,
}

/// Counts for one sub-image; pixels by the union of its instances.
pub fn image_counts(sample: &Sample, found: &[Instance]) -> ImageCounts {
    let (width, height) = (sample.image.width, sample.image.height);
    let predicted = union(width, height, found.iter().map(|instance| &instance.mask));
    let truth = union(width, height, &sample.instances);
    let masks: Vec<_> = found.iter().map(|instance| &instance.mask).collect();
    ImageCounts {
        pixels: Counts::of_pixels(&predicted, &truth),
        objects: match_objects(&masks, &sample.instances),
        holds_organ: !sample.instances.is_empty(),
    }
}

/// Metrics over a set of sub-images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Pooled over all sub-images, in original pixels.
    pub pixel: Scores,
    pub object: Scores,
    /// Mean Dice over the images that hold the organ (one in which nothing is found counts 0).
    pub mean_dice: Option<f64>,
    /// Sub-images.
    pub images: usize,
    pub images_with_organ: usize,
    pub images_without_organ: usize,
    /// Images without the organ in which something was found.
    pub false_positive_images: usize,
}

/// Metrics of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesEvaluation {
    pub series: String,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// Adds up the counts of sub-images.
pub fn evaluate(counts: &[ImageCounts]) -> Evaluation {
    let (mut pixels, mut objects) = (Counts::default(), Counts::default());
    for image in counts {
        pixels.add(image.pixels);
        objects.add(image.objects);
    }
    let dice: Vec<f64> = counts.iter().filter(|c| c.holds_organ).map(|c| c.pixels.f_beta(1.0).unwrap_or(0.0)).collect();
    let found = |c: &ImageCounts| c.pixels.true_positive + c.pixels.false_positive > 0;
    Evaluation {
        pixel: pixels.scores(),
        object: objects.scores(),
        mean_dice: super::ratio(dice.iter().sum(), dice.len() as f64),
        images: counts.len(),
        images_with_organ: dice.len(),
        images_without_organ: counts.len() - dice.len(),
        false_positive_images: counts.iter().filter(|c| !c.holds_organ && found(c)).count(),
    }
}
