//! The choice of threshold, opening and smallest object on the validation series: precision first.
//!
//! For each threshold and opening every image is cut into components once, and of each component only its area, its pixels inside
//! the annotation and its match are kept. Dropping small components changes neither the pixels nor the match of the others (two
//! disjoint components can both reach an IoU of 0.5 with one annotation only as its two equal halves), so all smallest areas are
//! then sums over that list. Several channels split components, which leaves the pixels as they are; the objects change only at those
//! few smallest areas at which another part is large enough to stay. A property test compares this with running everything anew.

use super::calibration::{Calibration, CurvePoint};
use super::objects::{Pair, greedy};
use super::review::Review;
use super::{Counts, union};
use crate::dataset::Sample;
use crate::geometry::{Mask, Rect};
use crate::segment::components::{self, Components};
use crate::segment::split::{self, Parts};
use crate::segment::{OperatingPoint, clean};
use rayon::prelude::*;

/// Probabilities at which a pixel may begin to belong, in thousandths.
const THRESHOLDS: [u32; 23] =
    [50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 550, 600, 650, 700, 750, 800, 850, 900, 925, 950, 970, 980, 990];
/// Radii of the opening.
const OPENINGS: [usize; 3] = [0, 1, 2];
/// Smallest objects, in hundredths of the median annotated one.
const MIN_AREAS: [usize; 10] = [0, 2, 5, 10, 15, 20, 25, 30, 40, 50];

/// A validation sub-image with its predicted probabilities, in original pixels.
pub struct Prediction<'a> {
    pub sample: &'a Sample,
    /// That a pixel belongs to any instance; row by row, of the sub-image's size.
    pub probability: Vec<f32>,
    /// The maps of the channels, each of the same size, where there are several; empty with one.
    pub channels: Vec<Vec<f32>>,
}

/// Chooses the operating point with the best pixel F0.5, among those whose pixel and object precision are at least `min_precision`
/// where one is asked for; where none reaches it, the one whose lower precision of the two is highest, and `reached` is false.
pub fn calibrate(predictions: &[Prediction<'_>], min_precision: Option<f64>) -> Calibration {
    let candidates = candidates(predictions);
    let enough = |c: &Candidate| min_precision.is_none_or(|p| c.lower_precision().is_some_and(|found| found >= p));
    let reaching = best(candidates.iter().filter(|c| enough(c)), Candidate::value);
    let reached = reaching.is_some();
    let fallback = || best(candidates.iter(), |c| c.lower_precision().unwrap_or(-1.0));
    let chosen = reaching.or_else(fallback).expect("the grid is not empty");
    // The points that differ from the chosen one in the threshold alone; thresholds ascend in the grid.
    let along = |c: &&Candidate| OperatingPoint { threshold: chosen.point.threshold, ..c.point } == chosen.point;
    let curve: Vec<CurvePoint> = candidates.iter().filter(along).map(Candidate::curve_point).collect();
    let lower: Vec<f32> = curve.iter().map(|c| c.threshold).filter(|&t| t < chosen.point.threshold).collect();
    Calibration {
        point: chosen.point,
        f_half: chosen.f_half(),
        pixel_precision: chosen.pixels.precision(),
        object_precision: chosen.objects.precision(),
        objects: chosen.objects,
        min_precision,
        reached,
        review: Review::choose(predictions, &chosen.point, chosen.objects, &lower),
        curve,
    }
}

/// The operating point at threshold 0.5 without post-processing but hole filling: where a choice starts from.
fn base_point() -> OperatingPoint {
    OperatingPoint { threshold: 0.5, min_area: 0, opening: 0, closing: 0, fill_holes: true }
}

/// An operating point with what it reaches.
struct Candidate {
    point: OperatingPoint,
    pixels: Counts,
    objects: Counts,
}

impl Candidate {
    fn f_half(&self) -> Option<f64> {
        self.pixels.f_beta(0.5)
    }

    /// F0.5, highest where there is nothing to find and nothing is found.
    fn value(&self) -> f64 {
        self.f_half().unwrap_or(f64::INFINITY)
    }

    /// The lower of pixel and object precision; `None` where nothing is predicted.
    fn lower_precision(&self) -> Option<f64> {
        self.pixels.precision().zip(self.objects.precision()).map(|(pixel, object)| pixel.min(object))
    }

    fn curve_point(&self) -> CurvePoint {
        let (pixels, objects) = (self.pixels.scores(), self.objects.scores());
        CurvePoint {
            threshold: self.point.threshold,
            pixel_precision: pixels.precision,
            pixel_recall: pixels.recall,
            object_precision: objects.precision,
            object_recall: objects.recall,
        }
    }

    /// Decides between equals: the better object precision, then the threshold that is nearest to 0.5, which lies furthest from both
    /// ends of the range that does as well.
    fn tie(&self) -> (f64, f64) {
        (self.objects.precision().unwrap_or(0.0), -f64::from((self.point.threshold - 0.5).abs()))
    }
}

/// The candidate with the highest `value`; the first among equals, so the choice is the same every time.
fn best<'a>(candidates: impl Iterator<Item = &'a Candidate>, value: impl Fn(&Candidate) -> f64) -> Option<&'a Candidate> {
    let key = |c: &Candidate| (value(c), c.tie());
    candidates.fold(None, |best: Option<&Candidate>, c| match best {
        Some(b) if key(b) >= key(c) => Some(b),
        _ => Some(c),
    })
}

/// Every operating point of the grid with its counts over all images.
fn candidates(predictions: &[Prediction<'_>]) -> Vec<Candidate> {
    let min_areas = min_areas(predictions);
    let points: Vec<OperatingPoint> = OPENINGS
        .iter()
        .flat_map(|&opening| THRESHOLDS.map(|t| OperatingPoint { threshold: t as f32 / 1000.0, opening, ..base_point() }))
        .collect();
    let counts: Vec<Vec<Found>> = predictions.par_iter().map(|p| of_image(p, &points, &min_areas)).collect();
    let n_truth_pixels: u64 = predictions.iter().map(|p| truth(p.sample).area() as u64).sum();
    let n_truth_objects: u64 = predictions.iter().map(|p| p.sample.instances.len() as u64).sum();
    let points = points.iter().flat_map(|point| min_areas.iter().map(|&min_area| OperatingPoint { min_area, ..*point }));
    let candidate = |(i, point): (usize, OperatingPoint)| {
        let mut sum = Found::default();
        for image in counts.iter().filter(|image| !image.is_empty()) {
            sum.pixels.add(image[i].pixels);
            sum.objects.add(image[i].objects);
        }
        let Found { mut pixels, mut objects } = sum;
        pixels.false_negative = n_truth_pixels - pixels.true_positive;
        objects.false_negative = n_truth_objects - objects.true_positive;
        Candidate { point, pixels, objects }
    };
    points.enumerate().map(candidate).collect()
}

/// The smallest objects to try: shares of the median annotated instance, each once.
fn min_areas(predictions: &[Prediction<'_>]) -> Vec<usize> {
    let mut areas: Vec<usize> = predictions.iter().flat_map(|p| p.sample.instances.iter().map(Mask::area)).collect();
    areas.sort_unstable();
    let median = areas.get(areas.len() / 2).copied().unwrap_or(0);
    let mut tried: Vec<usize> = MIN_AREAS.iter().map(|share| median * share / 100).collect();
    tried.dedup();
    tried
}

/// What one point finds in an image; what it misses is counted over all images.
#[derive(Clone, Copy, Default)]
struct Found {
    pixels: Counts,
    objects: Counts,
}

fn truth(sample: &Sample) -> Mask {
    union(sample.image.width, sample.image.height, &sample.instances)
}

/// The part of an image that any point finds anything in.
struct View {
    width: usize,
    height: usize,
    probability: Vec<f32>,
    /// The strongest channel of each pixel; empty where there is one only.
    strongest: Vec<u8>,
    truth: Mask,
    instances: Vec<Mask>,
    /// Areas of whole instances: the window may cut them.
    areas: Vec<usize>,
}

/// For each point, and within it each smallest area, what is found in one image; nothing at all if no threshold keeps any pixel.
fn of_image(prediction: &Prediction<'_>, points: &[OperatingPoint], min_areas: &[usize]) -> Vec<Found> {
    let (width, height) = (prediction.sample.image.width, prediction.sample.image.height);
    assert_eq!(prediction.probability.len(), width * height, "a map of {width} x {height} pixels");
    let Some(window) = window(&prediction.probability, width, height) else { return Vec::new() };
    let instances: Vec<Mask> = prediction.sample.instances.iter().map(|mask| mask.crop(window)).collect();
    let channels: Vec<Vec<f32>> = prediction.channels.iter().map(|channel| crop(channel, width, window)).collect();
    let view = View {
        width: window.width as usize,
        height: window.height as usize,
        probability: crop(&prediction.probability, width, window),
        strongest: if channels.len() > 1 { split::strongest(&channels) } else { Vec::new() },
        truth: union(window.width as usize, window.height as usize, &instances),
        areas: prediction.sample.instances.iter().map(Mask::area).collect(),
        instances,
    };
    points.iter().flat_map(|point| view.at_point(point, min_areas)).collect()
}

impl View {
    /// What is found with each of the smallest areas, which ascend.
    fn at_point(&self, point: &OperatingPoint, min_areas: &[usize]) -> Vec<Found> {
        let inside = self.probability.iter().map(|&p| u8::from(p >= point.threshold)).collect();
        let wholes = components::label(&clean(Mask::from_pixels(self.width, self.height, inside), point));
        let hits = self.hits(&wholes);
        let parts = (!self.strongest.is_empty()).then(|| Parts::new(&wholes, &self.strongest));
        let mut kept = parts.as_ref().map(|parts| parts.kept(0)).unwrap_or_default();
        let judge = |kept: &[bool]| match &parts {
            None => self.judge(&wholes),
            Some(parts) => self.judge(&parts.split(kept)),
        };
        let mut objects = judge(&kept);
        let found = |&min_area: &usize| {
            let now = parts.as_ref().map(|parts| parts.kept(min_area)).unwrap_or_default();
            if now != kept {
                objects = judge(&now);
                kept = now;
            }
            Found { pixels: count_pixels(&wholes, &hits, min_area), objects: count_objects(&objects, min_area) }
        };
        min_areas.iter().map(found).collect()
    }

    /// Of each component the pixels inside the annotation.
    fn hits(&self, components: &Components) -> Vec<usize> {
        let mut hits = vec![0; components.areas.len()];
        let labels = components.labels.iter().zip(self.truth.pixels());
        labels.filter(|(label, inside)| **label != 0 && **inside != 0).for_each(|(label, _)| hits[*label as usize - 1] += 1);
        hits
    }

    /// The area of each object, and whether it is matched.
    fn judge(&self, objects: &Components) -> Vec<(usize, bool)> {
        let n = self.instances.len();
        let mut shared = vec![0usize; objects.areas.len() * n];
        let labels = objects.labels.iter().zip(self.truth.pixels()).enumerate();
        for (i, (&label, _)) in labels.filter(|(_, (label, inside))| **label != 0 && **inside != 0) {
            for (t, instance) in self.instances.iter().enumerate() {
                shared[(label as usize - 1) * n + t] += usize::from(instance.pixels()[i]);
            }
        }
        let pair = |(i, &shared): (usize, &usize)| {
            let (predicted, truth) = (i / n, i % n);
            Pair { predicted, truth, shared, joined: objects.areas[predicted] + self.areas[truth] - shared }
        };
        let mut judged: Vec<(usize, bool)> = objects.areas.iter().map(|&area| (area, false)).collect();
        for matched in greedy(shared.iter().enumerate().map(pair).collect()) {
            judged[matched.predicted].1 = true;
        }
        judged
    }
}

fn count_pixels(components: &Components, hits: &[usize], min_area: usize) -> Counts {
    let mut counts = Counts::default();
    for (&area, &hits) in components.areas.iter().zip(hits).filter(|(area, _)| **area >= min_area) {
        counts.true_positive += hits as u64;
        counts.false_positive += (area - hits) as u64;
    }
    counts
}

fn count_objects(objects: &[(usize, bool)], min_area: usize) -> Counts {
    let mut counts = Counts::default();
    for &(_, matched) in objects.iter().filter(|(area, _)| *area >= min_area) {
        counts.true_positive += u64::from(matched);
        counts.false_positive += u64::from(!matched);
    }
    counts
}

/// The box of all pixels that any threshold keeps, with a margin of background for the opening and for holes, as far as the picture
/// goes; `None` if no threshold keeps any.
fn window(probability: &[f32], width: usize, height: usize) -> Option<Rect> {
    let lowest = THRESHOLDS[0] as f32 / 1000.0;
    let inside = probability.iter().map(|&p| u8::from(p >= lowest)).collect();
    let bounds = Mask::from_pixels(width, height, inside).bounds()?;
    let margin = OPENINGS[OPENINGS.len() - 1] as i32 + 1;
    let (left, top) = ((bounds.left - margin).max(0), (bounds.top - margin).max(0));
    let right = (bounds.left + bounds.width as i32 + margin).min(width as i32);
    let bottom = (bounds.top + bounds.height as i32 + margin).min(height as i32);
    Some(Rect { left, top, width: (right - left) as u32, height: (bottom - top) as u32 })
}

fn crop(map: &[f32], width: usize, window: Rect) -> Vec<f32> {
    let rows = map.chunks_exact(width).skip(window.top as usize).take(window.height as usize);
    rows.flat_map(|row| &row[window.left as usize..][..window.width as usize]).copied().collect()
}
