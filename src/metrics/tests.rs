//! Metrics against their definitions, and the choice of the operating point against running everything anew.

use super::calibrate::{Prediction, calibrate};
use super::calibration::Calibration;
use super::*;
use crate::dataset::Sample;
use crate::image::Gray;
use crate::segment::{OperatingPoint, instances, instances_by_channel};
use proptest::prelude::*;

fn mask(width: usize, pixels: &[u8]) -> Mask {
    Mask::from_pixels(width, pixels.len() / width, pixels.to_vec())
}

fn sample(width: usize, height: usize, instances: Vec<Mask>) -> Sample {
    let image = Gray::new(width, height, vec![0.0; width * height]);
    Sample { series: "s".into(), sub_image: 1, image, instances, digest: [0; 32] }
}

fn square(size: usize, left: usize, top: usize, side: usize) -> Mask {
    let mut mask = Mask::new(size, size);
    (top..top + side).for_each(|y| mask.set_span(y as i64, left as i64, (left + side) as i64));
    mask
}

#[test]
fn nothing_predicted_has_no_precision() {
    let counts = Counts { true_positive: 0, false_positive: 0, false_negative: 7 };
    let scores = counts.scores();
    assert_eq!((scores.precision, scores.recall, scores.dice, scores.iou), (None, Some(0.0), Some(0.0), Some(0.0)));
    assert_eq!(Counts::default().scores(), Scores::default());
    assert_eq!(serde_json::to_value(scores).unwrap()["precision"], serde_json::Value::Null);
}

#[test]
fn scores_of_known_counts() {
    let counts = Counts { true_positive: 6, false_positive: 2, false_negative: 4 };
    let scores = counts.scores();
    assert_eq!((scores.precision, scores.recall, scores.dice, scores.iou), (Some(0.75), Some(0.6), Some(12.0 / 18.0), Some(0.5)));
    // F0.5 = 1.25 P R / (0.25 P + R).
    let expected = 1.25 * 0.75 * 0.6 / (0.25 * 0.75 + 0.6);
    assert!((counts.f_beta(0.5).unwrap() - expected).abs() < 1e-12);
}

#[test]
fn pixels_are_counted_one_by_one() {
    let counts = Counts::of_pixels(&mask(3, &[1, 1, 0, 0, 1, 0]), &mask(3, &[1, 0, 0, 1, 1, 0]));
    assert_eq!(counts, Counts { true_positive: 2, false_positive: 1, false_negative: 1 });
}

#[test]
fn an_object_is_found_at_half() {
    let truth = [mask(4, &[1, 1, 1, 1])];
    assert_eq!(match_objects(&[&mask(4, &[1, 1, 0, 0])], &truth).true_positive, 1);
    assert_eq!(match_objects(&[&mask(4, &[1, 0, 0, 0])], &truth).true_positive, 0);
    // Both halves reach 0.5; the annotation is found once.
    let halves = match_objects(&[&mask(4, &[1, 1, 0, 0]), &mask(4, &[0, 0, 1, 1])], &truth);
    assert_eq!(halves, Counts { true_positive: 1, false_positive: 1, false_negative: 0 });
    assert_eq!(match_objects(&[], &truth), Counts { true_positive: 0, false_positive: 0, false_negative: 1 });
}

#[test]
fn the_best_pair_goes_first() {
    // The first prediction reaches 3/5 with the first annotation and 3/4 with the second; the second one only reaches the first.
    let truth = [mask(6, &[0, 1, 1, 1, 1, 0]), mask(6, &[1, 1, 1, 0, 0, 0])];
    let (first, second) = (mask(6, &[1, 1, 1, 1, 0, 0]), mask(6, &[0, 0, 1, 1, 1, 0]));
    let counts = match_objects(&[&first, &second], &truth);
    assert_eq!(counts, Counts { true_positive: 2, false_positive: 0, false_negative: 0 });
}

#[test]
fn images_without_the_organ_count_only_as_false_positives() {
    let with = sample(8, 8, vec![square(8, 0, 0, 4)]);
    let without = sample(8, 8, Vec::new());
    let point = OperatingPoint { threshold: 0.5, min_area: 0, opening: 0, closing: 0, fill_holes: false };
    let find = |mask: &Mask| {
        let map: Vec<f32> = mask.pixels().iter().map(|&p| f32::from(p)).collect();
        instances(&map, 8, 8, &point)
    };
    let right = image_counts(&with, &find(&square(8, 0, 0, 4)));
    let wrong = image_counts(&without, &find(&square(8, 2, 2, 2)));
    let evaluation = evaluate(&[right, wrong, image_counts(&without, &[])]);
    assert_eq!((evaluation.images_with_organ, evaluation.images_without_organ, evaluation.false_positive_images), (1, 2, 1));
    assert_eq!((evaluation.mean_dice, evaluation.pixel.precision), (Some(1.0), Some(0.8)));
    assert_eq!(evaluation.object.precision, Some(0.5));
}

/// The annotated square at 0.9, its rim at 0.6; a speck of noise at 0.95.
fn planted() -> Vec<(Sample, Vec<f32>)> {
    (0..4)
        .map(|i| {
            let truth = square(40, 8 + i, 8, 20);
            let mut map = vec![0.01; 1600];
            for (mask, p) in [(square(40, 5 + i, 5, 26), 0.6), (square(40, 8 + i, 8, 20), 0.9), (square(40, 35, 35, 4), 0.95)] {
                map.iter_mut().zip(mask.pixels()).filter(|(_, m)| **m != 0).for_each(|(v, _)| *v = p);
            }
            (sample(40, 40, vec![truth]), map)
        })
        .collect()
}

fn choose(cases: &[(Sample, Vec<f32>)], min_precision: Option<f64>) -> Calibration {
    let predictions: Vec<_> = cases.iter().map(|(sample, map)| prediction(sample, map, &[])).collect();
    calibrate(&predictions, min_precision)
}

fn prediction<'a>(sample: &'a Sample, map: &[f32], channels: &[Vec<f32>]) -> Prediction<'a> {
    Prediction { sample, probability: map.to_vec(), channels: channels.to_vec() }
}

#[test]
fn the_planted_optimum_is_found() {
    let chosen = choose(&planted(), None);
    assert_eq!(chosen.f_half, Some(1.0));
    assert!(chosen.point.threshold > 0.6 && chosen.point.threshold <= 0.9, "{chosen:?}");
    assert!(chosen.point.min_area > 16 && chosen.reached, "{chosen:?}");
    assert_eq!(choose(&planted(), Some(0.99)).f_half, Some(1.0));
}

#[test]
fn a_precision_that_is_out_of_reach_is_said_to_be() {
    let mut cases = planted();
    // Objects where there are none, as sure as the real ones.
    cases.iter_mut().skip(2).for_each(|(sample, _)| sample.instances.clear());
    let chosen = choose(&cases, Some(0.9));
    assert!(!chosen.reached, "{chosen:?}");
    assert_eq!((chosen.pixel_precision, chosen.object_precision), (Some(0.5), Some(0.5)));
    assert!(choose(&cases, Some(0.5)).reached);
}

#[test]
fn a_model_that_predicts_nothing_reaches_no_precision() {
    let cases: Vec<_> = planted().into_iter().map(|(sample, map)| (sample, vec![0.0; map.len()])).collect();
    let chosen = choose(&cases, Some(0.5));
    assert!(!chosen.reached && chosen.pixel_precision.is_none() && chosen.f_half == Some(0.0), "{chosen:?}");
    assert!(!calibrate(&[], Some(0.5)).reached && calibrate(&[], None).reached);
}

/// Where nothing is annotated, finding nothing is best.
#[test]
fn where_nothing_is_finding_nothing_is_best() {
    let cases: Vec<_> = planted().into_iter().map(|(_, map)| (sample(40, 40, Vec::new()), map)).collect();
    let chosen = choose(&cases, None);
    assert_eq!((chosen.f_half, chosen.pixel_precision, chosen.reached), (None, None, true), "{chosen:?}");
}

/// Smooth random maps with objects of many sizes; annotations that overlap and touch the border.
fn cases() -> impl Strategy<Value = Vec<(Sample, Vec<f32>)>> {
    let case =
        (8usize..30, 8usize..30, proptest::collection::vec((0i64..30, 0i64..30, 1i64..8, 0.0f32..1.0, any::<bool>()), 0..7));
    let case = case.prop_map(|(width, height, discs)| {
        let mut map = vec![0.02f32; width * height];
        let mut truth = Vec::new();
        for (cx, cy, r, p, annotated) in discs {
            let mut mask = Mask::new(width, height);
            for y in 0..height as i64 {
                for x in 0..width as i64 {
                    let distance = (((x - cx).pow(2) + (y - cy).pow(2)) as f32).sqrt();
                    let value = (p * (1.3 - distance / r as f32)).clamp(0.0, 1.0);
                    let here = &mut map[y as usize * width + x as usize];
                    *here = here.max(value);
                    if distance <= r as f32 {
                        mask.set(x as usize, y as usize, true);
                    }
                }
            }
            if annotated && mask.area() > 0 {
                truth.push(mask);
            }
        }
        (sample(width, height, truth), map)
    });
    proptest::collection::vec(case, 1..5)
}

fn count(cases: &[(Sample, Vec<f32>)], point: &OperatingPoint) -> (Counts, Counts) {
    let (mut pixels, mut objects) = (Counts::default(), Counts::default());
    for (sample, map) in cases {
        let counts = image_counts(sample, &instances(map, sample.image.width, sample.image.height, point));
        pixels.add(counts.pixels);
        objects.add(counts.objects);
    }
    (pixels, objects)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What calibration says of its choice is what running it gives, and no other point of a coarser grid does better.
    #[test]
    fn the_choice_is_what_it_says_and_the_best(cases in cases(), min_precision in prop::option::of(0.2f64..0.95)) {
        let chosen = choose(&cases, min_precision);
        let (pixels, objects) = count(&cases, &chosen.point);
        prop_assert_eq!(chosen.f_half, pixels.f_beta(0.5));
        prop_assert_eq!((chosen.pixel_precision, chosen.object_precision), (pixels.precision(), objects.precision()));
        let reaches = |pixels: &Counts, objects: &Counts| {
            min_precision.is_none_or(|p| pixels.precision().is_some_and(|v| v >= p) && objects.precision().is_some_and(|v| v >= p))
        };
        prop_assert_eq!(chosen.reached, reaches(&pixels, &objects));
        for thousandths in [50u32, 300, 500, 700, 950] {
            for opening in [0, 2] {
                let point = OperatingPoint { threshold: thousandths as f32 / 1000.0, min_area: 0, opening, closing: 0, fill_holes: true };
                let (pixels, objects) = count(&cases, &point);
                if reaches(&pixels, &objects) {
                    // Where there is nothing to find, finding nothing is best.
                    let value = |f_half: Option<f64>| f_half.unwrap_or(f64::INFINITY);
                    prop_assert!(chosen.reached && value(pixels.f_beta(0.5)) <= value(chosen.f_half), "{:?} does better", point);
                }
            }
        }
        prop_assert_eq!(choose(&cases, min_precision), chosen);
    }

    /// The same with channels that cut the objects along the borders between some centres.
    #[test]
    fn with_channels_the_choice_is_what_it_says(
        cases in cases(),
        centres in proptest::collection::vec((0usize..30, 0usize..30), 2..5),
        min_precision in prop::option::of(0.2f64..0.95),
    ) {
        let cases: Vec<_> = cases.iter().map(|(sample, map)| cut(sample, map, &centres)).collect();
        let predictions: Vec<_> = cases.iter().map(|(sample, map, channels)| prediction(sample, map, channels)).collect();
        let chosen = calibrate(&predictions, min_precision);
        let (mut pixels, mut objects) = (Counts::default(), Counts::default());
        for (sample, map, channels) in &cases {
            let found = instances_by_channel(map, channels, sample.image.width, sample.image.height, &chosen.point);
            let counts = image_counts(sample, &found);
            pixels.add(counts.pixels);
            objects.add(counts.objects);
        }
        prop_assert_eq!(chosen.f_half, pixels.f_beta(0.5));
        prop_assert_eq!((chosen.pixel_precision, chosen.object_precision), (pixels.precision(), objects.precision()));
    }
}

/// Channels that hold `map` near their own centre and half of it elsewhere, with their union.
fn cut<'a>(sample: &'a Sample, map: &[f32], centres: &[(usize, usize)]) -> (&'a Sample, Vec<f32>, Vec<Vec<f32>>) {
    let width = sample.image.width;
    let distance = |i: usize, (x, y): (usize, usize)| (i % width).abs_diff(x).pow(2) + (i / width).abs_diff(y).pow(2);
    let nearest = |i: usize| (0..centres.len()).min_by_key(|&k| distance(i, centres[k])).unwrap_or(0);
    let channel = |k: usize| map.iter().enumerate().map(|(i, &p)| if nearest(i) == k { p } else { 0.5 * p }).collect();
    let channels: Vec<Vec<f32>> = (0..centres.len()).map(channel).collect();
    let union = (0..map.len()).map(|i| 1.0 - channels.iter().map(|channel| 1.0 - channel[i]).product::<f32>()).collect();
    (sample, union, channels)
}

/// Two annotated squares side by side that one threshold cannot part: the channels can, and calibration knows.
#[test]
fn objects_that_touch_are_judged_apart() {
    let squares = [square(40, 4, 10, 14), square(40, 18, 10, 14)];
    let map = |mask: &Mask| mask.pixels().iter().map(|&p| 0.02 + 0.9 * f32::from(p)).collect::<Vec<f32>>();
    let channels = squares.each_ref().map(map).to_vec();
    let both = map(&union(40, 40, &squares));
    let sample = sample(40, 40, squares.to_vec());
    let one = calibrate(&[prediction(&sample, &both, &[])], None);
    assert_eq!((one.pixel_precision, one.object_precision), (Some(1.0), Some(1.0)), "half of it is one of them");
    let third = sample.instances.iter().cloned().chain([square(40, 32, 10, 7)]).collect();
    let three = Sample { instances: third, ..sample.clone() };
    let both = map(&union(40, 40, &three.instances));
    let one = calibrate(&[prediction(&three, &both, &[])], None);
    assert_eq!(
        (one.pixel_precision, one.object_precision),
        (Some(1.0), Some(0.0)),
        "one object, less than half of which is any of them"
    );
    let channels = [channels, vec![map(&three.instances[2])]].concat();
    let split = calibrate(&[prediction(&three, &both, &channels)], None);
    assert_eq!((split.pixel_precision, split.object_precision), (Some(1.0), Some(1.0)));
}
