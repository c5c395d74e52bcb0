//! From a probability map to instances: threshold, opening, closing, hole filling, connected components, smallest area.
//!
//! Below both `train` (which chooses the operating point on the validation series) and `predict`.

use crate::geometry::{Mask, Rect};
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
pub fn instances(_probability: &[f32], _width: usize, _height: usize, _point: &OperatingPoint) -> Vec<Instance> {
    todo!()
}
