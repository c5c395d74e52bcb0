//! From a probability map to instances: threshold, opening, closing, hole filling, connected components, smallest area.
//!
//! Conventions, in the order of the steps:
//! - a pixel belongs when its probability is at least the threshold;
//! - opening and closing use exact Euclidean discs, and the border of the picture takes nothing away (see [`morphology`]);
//! - holes are parts of the background that are 4-connected and do not reach the border;
//! - components are 8-connected, as in ImageJ's particle analyser: pixels that touch at a corner are one object.
//!
//! Below both `train` (which chooses the operating point on the validation series) and `predict`.

pub mod components;
pub mod morphology;
pub(crate) mod split;
#[cfg(test)]
mod tests;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Mask, Rect};
use components::Components;
use serde::{Deserialize, Serialize};

/// How a probability map becomes objects. Stored with a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// A pixel belongs when its probability is at least this.
    pub threshold: f32,
    /// Objects with fewer pixels are dropped.
    pub min_area: usize,
    /// Radius of the opening (erosion, then dilation) with a disc, in pixels; 0 for none.
    pub opening: usize,
    /// Radius of the closing (dilation, then erosion) with a disc, in pixels; 0 for none.
    pub closing: usize,
    /// Fill holes.
    pub fill_holes: bool,
}

impl OperatingPoint {
    /// In words, without what is left out.
    pub fn describe(&self) -> String {
        let mut text = format!("threshold {:.3}, smallest object {} pixels", self.threshold, self.min_area);
        for (name, radius) in [("opening", self.opening), ("closing", self.closing)].into_iter().filter(|(_, radius)| *radius > 0)
        {
            text.push_str(&format!(", {name} radius {radius}"));
        }
        if !self.fill_holes {
            text.push_str(", holes kept");
        }
        text
    }

    /// Checks that the numbers make sense; a file may say anything.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.threshold) && self.opening.max(self.closing) <= RADIUS_MAX {
            return Ok(());
        }
        let expected = format!("expected a threshold from 0 to 1 and radii up to {RADIUS_MAX}");
        let found = format!("found {}, {} and {}", self.threshold, self.opening, self.closing);
        Err(Error::new(ErrorKind::Data, format!("{expected}, {found}")).remedy("restore the file from a copy, or train again"))
    }
}

/// The largest radius of opening and closing; the work grows with its square.
const RADIUS_MAX: usize = 64;

/// An object found in one sub-image.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Of the sub-image's size.
    pub mask: Mask,
    pub bounds: Rect,
    pub area: usize,
    /// Mean of x + 0.5 and y + 0.5 over its pixels.
    pub centroid: [f64; 2],
    /// Mean probability over its pixels.
    pub score: f32,
}

/// The objects in a probability map of `width` x `height`, largest first (ties: topmost, then leftmost).
///
/// # Panics
/// If `probability` has not `width` x `height` elements.
pub fn instances(probability: &[f32], width: usize, height: usize, point: &OperatingPoint) -> Vec<Instance> {
    let components = components::label(&foreground(probability, width, height, point));
    collect(&components, probability, point.min_area)
}

/// As [`instances`], where `channels` (K maps of the same size, each a potential instance) say where an object of the union
/// `probability` is in truth several that touch. The union of the objects is the same as without channels.
///
/// # Panics
/// If a map has not `width` x `height` elements.
pub fn instances_by_channel(
    probability: &[f32],
    channels: &[Vec<f32>],
    width: usize,
    height: usize,
    point: &OperatingPoint,
) -> Vec<Instance> {
    if channels.len() < 2 {
        return instances(probability, width, height, point);
    }
    assert!(channels.iter().all(|c| c.len() == probability.len()), "maps of one size");
    let mut components = components::label(&foreground(probability, width, height, point));
    components.drop_small(point.min_area);
    let parts = split::Parts::new(&components, &split::strongest(channels));
    collect(&parts.split(&parts.kept(point.min_area)), probability, point.min_area)
}

/// The pixels that belong to any object, before small ones are dropped: threshold, opening, closing, hole filling.
///
/// # Panics
/// If `probability` has not `width` x `height` elements.
pub fn foreground(probability: &[f32], width: usize, height: usize, point: &OperatingPoint) -> Mask {
    assert_eq!(probability.len(), width * height, "a map of {width} x {height} pixels");
    let inside = probability.iter().map(|&p| u8::from(p >= point.threshold)).collect();
    clean(Mask::from_pixels(width, height, inside), point)
}

/// Opening, closing and hole filling.
pub fn clean(mut mask: Mask, point: &OperatingPoint) -> Mask {
    if point.opening > 0 {
        mask = morphology::open(&mask, point.opening);
    }
    if point.closing > 0 {
        mask = morphology::close(&mask, point.closing);
    }
    if point.fill_holes {
        mask = components::fill_holes(&mask);
    }
    mask
}

/// The instances of a labelling with at least `min_area` pixels.
fn collect(components: &Components, probability: &[f32], min_area: usize) -> Vec<Instance> {
    let mut sums = vec![Sums::default(); components.areas.len()];
    for (i, &label) in components.labels.iter().enumerate().filter(|(_, label)| **label != 0) {
        sums[label as usize - 1].add(i % components.width, i / components.width, probability[i]);
    }
    // Labels are in scan order, so a stable sort by area leaves ties topmost first, then leftmost.
    let mut order: Vec<usize> = (0..sums.len()).filter(|&k| sums[k].area >= min_area.max(1)).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(sums[k].area));
    order.into_iter().map(|k| sums[k].instance(components, k as u32 + 1)).collect()
}

/// What is added up over the pixels of an instance.
#[derive(Clone, Copy)]
struct Sums {
    area: usize,
    x: usize,
    y: usize,
    probability: f64,
    /// First column, first row, one past the last column, one past the last row.
    bounds: [usize; 4],
}

impl Default for Sums {
    fn default() -> Self {
        Sums { area: 0, x: 0, y: 0, probability: 0.0, bounds: [usize::MAX, usize::MAX, 0, 0] }
    }
}

impl Sums {
    fn add(&mut self, x: usize, y: usize, probability: f32) {
        self.area += 1;
        self.x += x;
        self.y += y;
        self.probability += f64::from(probability);
        let [left, top, right, bottom] = self.bounds;
        self.bounds = [left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)];
    }

    fn instance(&self, components: &Components, label: u32) -> Instance {
        let [left, top, right, bottom] = self.bounds;
        let mut mask = Mask::new(components.width, components.height);
        for y in top..bottom {
            for x in left..right {
                if components.labels[y * components.width + x] == label {
                    mask.set(x, y, true);
                }
            }
        }
        let n = self.area as f64;
        Instance {
            mask,
            bounds: Rect { left: left as i32, top: top as i32, width: (right - left) as u32, height: (bottom - top) as u32 },
            area: self.area,
            centroid: [self.x as f64 / n + 0.5, self.y as f64 / n + 0.5],
            score: (self.probability / n) as f32,
        }
    }
}
