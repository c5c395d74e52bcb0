//! The pixels that ImageJ fills, as horizontal spans.
//!
//! Polygons follow `PolygonFiller` of 1.53t: even-odd; a pixel's centre c belongs when left edge < c <= right edge and top < c <=
//! bottom. Edges are followed down in steps of their slope, with the same roundings, so that ties fall as in ImageJ. Ovals follow
//! `OvalRoi.getMask`. Work is bounded by what is drawn, not by the box.

use super::outline::Interior;
use super::path::SEPARATOR;
use crate::geometry::Rect;

/// Edges may cross this many rows in all. Real outlines cross thousands; a hostile file could ask for hours.
const MAX_EDGE_ROWS: i64 = 1 << 26;
/// ImageJ pushes edges right by this much, so that a centre on an edge does not depend on rounding.
const NUDGE: f64 = 1e-8;

/// Calls `emit(y, from, to)` for each span of pixels `from .. to` in row `y`, relative to the box, in rows below `last_row`.
pub(super) fn spans(interior: &Interior, bounds: Rect, last_row: i64, mut emit: impl FnMut(i64, i64, i64)) {
    let (width, height) = (i64::from(bounds.width), i64::from(bounds.height).min(last_row));
    match interior {
        Interior::Nothing => {}
        Interior::Box => (0..height).for_each(|y| emit(y, 0, width)),
        Interior::Oval => oval_spans(bounds, height, emit),
        Interior::Polygons { xs, ys, offset } => polygon_spans(edges(xs, ys, *offset).collect(), width, height, emit),
    }
}

/// Whether filling takes a sensible number of steps.
pub(super) fn is_affordable(interior: &Interior, bounds: Rect) -> bool {
    match interior {
        Interior::Nothing | Interior::Box => true,
        Interior::Oval => i64::from(bounds.height) < MAX_EDGE_ROWS,
        Interior::Polygons { xs, ys, offset } => {
            let height = i64::from(bounds.height);
            let rows = |edge: &Edge| i64::from(edge.bottom).min(height) - i64::from(edge.top).min(height);
            edges(xs, ys, *offset).map(|edge| rows(&edge)).sum::<i64>() < MAX_EDGE_ROWS
        }
    }
}

/// An edge from row `top` to row `bottom` (exclusive); `x` lies where it crosses the current row's centre.
struct Edge {
    x: f64,
    top: i32,
    bottom: i32,
    slope: f64,
}

fn edges<'a>(xs: &'a [f32], ys: &'a [f32], [dx, dy]: [f64; 2]) -> impl Iterator<Item = Edge> + 'a {
    let mut start = 0;
    (0..xs.len()).filter_map(move |i| {
        if xs[i] == SEPARATOR {
            start = i + 1;
            return None;
        }
        let next = if i + 1 == xs.len() || xs[i + 1] == SEPARATOR { start } else { i + 1 };
        let at = |i: usize| (f64::from(xs[i]) + dx, f64::from(ys[i]) + dy);
        edge(at(i), at(next))
    })
}

fn edge(mut a: (f64, f64), mut b: (f64, f64)) -> Option<Edge> {
    let row = |y: f64| (y + 0.5).floor() as i32;
    if row(a.1) > row(b.1) {
        std::mem::swap(&mut a, &mut b);
    }
    let (top, bottom) = (row(a.1), row(b.1));
    if top == bottom || bottom <= 0 {
        return None;
    }
    let slope = (b.0 - a.0) / (b.1 - a.1);
    let x = a.0 + (f64::from(top) - a.1 + 0.5) * slope + NUDGE;
    Some(Edge { x, top, bottom, slope })
}

fn polygon_spans(mut edges: Vec<Edge>, width: i64, height: i64, mut emit: impl FnMut(i64, i64, i64)) {
    edges.sort_by_key(|edge| edge.top);
    let mut waiting = edges.into_iter().peekable();
    let mut active: Vec<Edge> = Vec::new();
    let mut y = 0;
    loop {
        if active.is_empty() {
            let Some(next) = waiting.peek() else { return };
            y = y.max(i64::from(next.top));
        }
        if y >= height {
            return;
        }
        while let Some(mut edge) = waiting.next_if(|edge| i64::from(edge.top) <= y) {
            let above = y - i64::from(edge.top);
            if above > 0 {
                // ImageJ jumps over rows above the box in one step.
                edge.x += edge.slope * above as f64;
            }
            active.push(edge);
        }
        active.retain(|edge| y < i64::from(edge.bottom));
        active.sort_by(|a, b| a.x.total_cmp(&b.x));
        for pair in active.chunks_exact(2) {
            let column = |edge: &Edge| i64::from((edge.x + 0.5) as i32).clamp(0, width);
            let (from, to) = (column(&pair[0]), column(&pair[1]));
            if from < to {
                emit(y, from, to);
            }
        }
        active.iter_mut().for_each(|edge| edge.x += edge.slope);
        y += 1;
    }
}

fn oval_spans(bounds: Rect, height: i64, mut emit: impl FnMut(i64, i64, i64)) {
    let (a, b) = (f64::from(bounds.width) / 2.0, f64::from(bounds.height) / 2.0);
    let (a2, b2) = (a * a, b * b);
    let width = i64::from(bounds.width);
    for y in 0..height {
        let dy = y as f64 - (b - 0.5);
        let inside = |x: i64| {
            let dx = x as f64 - (a - 0.5);
            dx * dx / a2 + dy * dy / b2 <= 1.0
        };
        // The formula gives the span up to a rounding, which the loops set right.
        let half = a * (1.0 - dy * dy / b2).max(0.0).sqrt();
        let mut from = ((a - 0.5 - half).round() as i64).clamp(0, width);
        while from > 0 && inside(from - 1) {
            from -= 1;
        }
        while from < width - from && !inside(from) {
            from += 1;
        }
        if from < width - from {
            emit(y, from, width - from);
        }
    }
}
