//! Which predicted object is which annotated one.

use super::Counts;
use crate::geometry::{Mask, Rect};

/// An object counts as found at this intersection over union.
pub const MIN_IOU: f64 = 0.5;

/// Greedy matching: the pair with the highest IoU first (ties: the first predicted, then the first annotated), down to an IoU of
/// `MIN_IOU`; each object is used once.
pub fn match_objects(predicted: &[&Mask], truth: &[Mask]) -> Counts {
    let boxes: Vec<Option<Rect>> = truth.iter().map(Mask::bounds).collect();
    let areas: Vec<usize> = truth.iter().map(Mask::area).collect();
    let mut pairs = Vec::new();
    for (p, mask) in predicted.iter().enumerate() {
        let Some(bounds) = mask.bounds() else { continue };
        let area = mask.area();
        for (t, other) in truth.iter().enumerate() {
            let shared = boxes[t].map_or(0, |b| intersection(mask, other, overlap(bounds, b)));
            pairs.push(Pair { predicted: p, truth: t, shared, joined: area + areas[t] - shared });
        }
    }
    let matched = greedy(pairs).len() as u64;
    Counts {
        true_positive: matched,
        false_positive: predicted.len() as u64 - matched,
        false_negative: truth.len() as u64 - matched,
    }
}

/// A predicted and an annotated object with the pixels of their intersection and of their union.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub predicted: usize,
    pub truth: usize,
    pub shared: usize,
    pub joined: usize,
}

/// The matched pairs.
pub(super) fn greedy(mut pairs: Vec<Pair>) -> Vec<Pair> {
    pairs.retain(|pair| pair.shared > 0 && pair.shared as f64 >= MIN_IOU * pair.joined as f64);
    // Fractions are compared by their cross products: no rounding, so ties are ties.
    pairs.sort_by(|a, b| {
        let (a_iou, b_iou) = (a.shared * b.joined, b.shared * a.joined);
        b_iou.cmp(&a_iou).then(a.predicted.cmp(&b.predicted)).then(a.truth.cmp(&b.truth))
    });
    let mut matched: Vec<Pair> = Vec::new();
    for pair in pairs {
        if matched.iter().all(|m| m.predicted != pair.predicted && m.truth != pair.truth) {
            matched.push(pair);
        }
    }
    matched
}

fn overlap(a: Rect, b: Rect) -> Rect {
    let (left, top) = (a.left.max(b.left), a.top.max(b.top));
    let right = (a.left + a.width as i32).min(b.left + b.width as i32);
    let bottom = (a.top + a.height as i32).min(b.top + b.height as i32);
    Rect { left, top, width: (right - left).max(0) as u32, height: (bottom - top).max(0) as u32 }
}

fn intersection(a: &Mask, b: &Mask, within: Rect) -> usize {
    let rows = within.top as usize..within.top as usize + within.height as usize;
    let row = |y: usize| {
        let span = y * a.width() + within.left as usize..y * a.width() + within.left as usize + within.width as usize;
        a.pixels()[span.clone()].iter().zip(&b.pixels()[span]).map(|(a, b)| usize::from(a & b)).sum::<usize>()
    };
    if within.width == 0 { 0 } else { rows.map(row).sum() }
}
