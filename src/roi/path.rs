//! Curved paths made straight, step by step as Java's `FlatteningPathIterator` does it, so that the same pixels fall inside.
//!
//! A curve is halved until its control points are nearer to its chord than the flatness, at most 10 times over. ImageJ holds
//! paths in f32 and halves in f64.

use super::shape::Segment;
use crate::geometry::Rect;

/// The flatness with which ImageJ fills.
pub(super) const FILL_FLATNESS: f64 = 0.01;
/// The flatness with which ImageJ counts points.
pub(super) const COUNT_FLATNESS: f64 = 0.1;

const MAX_HALVINGS: u32 = 10;
/// A path of more points than this is refused: a hostile file could otherwise ask for gigabytes.
const MAX_POINTS: usize = 1 << 22;

/// Keeps outlines apart; no coordinate is infinite. (ImageJ uses NaN, which equals not even itself.)
pub(super) const SEPARATOR: f32 = f32::INFINITY;

/// Outlines one after the other; between two of them lies a point of [`SEPARATOR`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Polygons {
    pub xs: Vec<f32>,
    pub ys: Vec<f32>,
}

impl Polygons {
    fn push(&mut self, [x, y]: [f32; 2]) {
        self.xs.push(x);
        self.ys.push(y);
    }

    fn separate(&mut self) {
        if self.xs.last().is_some_and(|&x| x != SEPARATOR) {
            self.push([SEPARATOR; 2]);
        }
    }
}

/// The straight outlines of a path. With `separate` they are kept apart, without it they follow each other (as ImageJ
/// counts points). A closing point equal to the first is dropped. `None` if there would be too many points.
pub(super) fn flatten(path: &[Segment], flatness: f64, separate: bool) -> Option<Polygons> {
    let mut out = Polygons::default();
    let (mut current, mut first, mut start) = ([0.0_f32; 2], [0.0_f32; 2], 0);
    let limit = flatness * flatness;
    for segment in path {
        match *segment {
            Segment::Move(p) => {
                if separate {
                    out.separate();
                }
                start = out.xs.len();
                out.push(p);
                (current, first) = (p, p);
            }
            Segment::Line(p) => {
                out.push(p);
                current = p;
            }
            Segment::Quadratic([c, p]) => {
                let curve = [current, c, p].map(wide);
                halve_quadratic(curve, limit, 0, &mut out);
                current = p;
            }
            Segment::Cubic([c, d, p]) => {
                let curve = [current, c, d, p].map(wide);
                halve_cubic(curve, limit, 0, &mut out);
                current = p;
            }
            Segment::Close => {
                let end = out.xs.len();
                if end > start && out.xs[end - 1] == first[0] && out.ys[end - 1] == first[1] {
                    out.xs.pop();
                    out.ys.pop();
                }
                current = first;
                if separate {
                    out.separate();
                }
            }
        }
        if out.xs.len() > MAX_POINTS {
            return None;
        }
    }
    if out.xs.last().is_some_and(|&x| x == SEPARATOR) {
        out.xs.pop();
        out.ys.pop();
    }
    Some(out)
}

/// The path moved by whole pixels, in ImageJ's precision.
pub(super) fn translate(path: &[Segment], dx: f64, dy: f64) -> Vec<Segment> {
    let move_point = |[x, y]: [f32; 2]| [(f64::from(x) + dx) as f32, (f64::from(y) + dy) as f32];
    path.iter()
        .map(|segment| match *segment {
            Segment::Move(p) => Segment::Move(move_point(p)),
            Segment::Line(p) => Segment::Line(move_point(p)),
            Segment::Quadratic(points) => Segment::Quadratic(points.map(move_point)),
            Segment::Cubic(points) => Segment::Cubic(points.map(move_point)),
            Segment::Close => Segment::Close,
        })
        .collect()
}

/// The box around all points of a path, control points too, rounded outwards (`Path2D.getBounds` of Java 8 to 18).
pub(super) fn bounds(path: &[Segment]) -> Rect {
    let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    let mut include = |p: &[f32; 2]| {
        for axis in 0..2 {
            low[axis] = low[axis].min(p[axis]);
            high[axis] = high[axis].max(p[axis]);
        }
    };
    for segment in path {
        match segment {
            Segment::Move(p) | Segment::Line(p) => include(p),
            Segment::Quadratic(points) => points.iter().for_each(&mut include),
            Segment::Cubic(points) => points.iter().for_each(&mut include),
            Segment::Close => {}
        }
    }
    if low[0] > high[0] {
        return Rect::default();
    }
    let span = |axis: usize| {
        let from = f64::from(low[axis]);
        // Java keeps the width in f32, and adds it to the left edge again.
        let to = from + f64::from(high[axis] - low[axis]);
        let first = from.floor() as i32;
        (first, (to.ceil() as i64 - i64::from(first)).clamp(0, i64::from(u32::MAX)) as u32)
    };
    let ((left, width), (top, height)) = (span(0), span(1));
    Rect { left, top, width, height }
}

/// The path of an ellipse in a box, relative to the box's pixel (`Ellipse2D`'s four cubics; ImageJ widens the box by 0.0004 on
/// each side so that whole points lie inside).
pub(super) fn ellipse(width: u32, height: u32) -> Vec<Segment> {
    const MARGIN: f64 = 4e-4;
    const CONTROL: f64 = 0.5522847498307933;
    let (far, near) = (0.5 + CONTROL * 0.5, 0.5 - CONTROL * 0.5);
    let (w, h) = (f64::from(width) + 2.0 * MARGIN, f64::from(height) + 2.0 * MARGIN);
    // The box begins left of its pixel, so Java's whole box begins one pixel earlier.
    let at = |u: f64, v: f64| [(1.0 - MARGIN + u * w) as f32, (1.0 - MARGIN + v * h) as f32];
    vec![
        Segment::Move(at(1.0, 0.5)),
        Segment::Cubic([at(1.0, far), at(far, 1.0), at(0.5, 1.0)]),
        Segment::Cubic([at(near, 1.0), at(0.0, far), at(0.0, 0.5)]),
        Segment::Cubic([at(0.0, near), at(near, 0.0), at(0.5, 0.0)]),
        Segment::Cubic([at(far, 0.0), at(1.0, near), at(1.0, 0.5)]),
        Segment::Close,
    ]
}

/// The path of a rectangle with rounded corners, relative to its box (`RoundRectangle2D`).
pub(super) fn rounded_rectangle(width: u32, height: u32, corner_diameter: u16) -> Vec<Segment> {
    let a = 1.0 - std::f64::consts::FRAC_PI_4.cos();
    let b = std::f64::consts::FRAC_PI_4.tan();
    let c = (1.0 + b * b).sqrt() - 1.0 + a;
    let control = (1.0 - 4.0 / 3.0 * a * b / c) / 2.0;
    let (w, h) = (f64::from(width), f64::from(height));
    let (aw, ah) = (w.min(f64::from(corner_diameter)), h.min(f64::from(corner_diameter)));
    // Each coordinate is a fraction of the side plus a fraction of the corner.
    let at = |u: f64, du: f64, v: f64, dv: f64| [(u * w + du * aw) as f32, (v * h + dv * ah) as f32];
    let k = control;
    vec![
        Segment::Move(at(0.0, 0.0, 0.0, 0.5)),
        Segment::Line(at(0.0, 0.0, 1.0, -0.5)),
        Segment::Cubic([at(0.0, 0.0, 1.0, -k), at(0.0, k, 1.0, 0.0), at(0.0, 0.5, 1.0, 0.0)]),
        Segment::Line(at(1.0, -0.5, 1.0, 0.0)),
        Segment::Cubic([at(1.0, -k, 1.0, 0.0), at(1.0, 0.0, 1.0, -k), at(1.0, 0.0, 1.0, -0.5)]),
        Segment::Line(at(1.0, 0.0, 0.0, 0.5)),
        Segment::Cubic([at(1.0, 0.0, 0.0, k), at(1.0, -k, 0.0, 0.0), at(1.0, -0.5, 0.0, 0.0)]),
        Segment::Line(at(0.0, 0.5, 0.0, 0.0)),
        Segment::Cubic([at(0.0, k, 0.0, 0.0), at(0.0, 0.0, 0.0, k), at(0.0, 0.0, 0.0, 0.5)]),
        Segment::Close,
    ]
}

fn wide([x, y]: [f32; 2]) -> [f64; 2] {
    [f64::from(x), f64::from(y)]
}

fn narrow([x, y]: [f64; 2]) -> [f32; 2] {
    [x as f32, y as f32]
}

fn middle(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0]
}

fn halve_quadratic([p, c, q]: [[f64; 2]; 3], limit: f64, depth: u32, out: &mut Polygons) {
    if depth == MAX_HALVINGS || distance_to_chord_squared(p, q, c) < limit {
        out.push(narrow(q));
        return;
    }
    let (left, right) = (middle(p, c), middle(q, c));
    let centre = middle(left, right);
    halve_quadratic([p, left, centre], limit, depth + 1, out);
    halve_quadratic([centre, right, q], limit, depth + 1, out);
}

fn halve_cubic([p, c, d, q]: [[f64; 2]; 4], limit: f64, depth: u32, out: &mut Polygons) {
    let flat = distance_to_chord_squared(p, q, c).max(distance_to_chord_squared(p, q, d));
    if depth == MAX_HALVINGS || flat < limit {
        out.push(narrow(q));
        return;
    }
    let (first, last, centre) = (middle(p, c), middle(q, d), middle(c, d));
    let (left, right) = (middle(first, centre), middle(last, centre));
    let split = middle(left, right);
    halve_cubic([p, first, left, split], limit, depth + 1, out);
    halve_cubic([split, right, last, q], limit, depth + 1, out);
}

/// The squared distance of `point` to the segment from `a` to `b`, in the order of operations of Java's `Line2D.ptSegDistSq`.
fn distance_to_chord_squared(a: [f64; 2], b: [f64; 2], point: [f64; 2]) -> f64 {
    let (bx, by) = (b[0] - a[0], b[1] - a[1]);
    let (mut px, mut py) = (point[0] - a[0], point[1] - a[1]);
    let mut along = px * bx + py * by;
    let mut projected = 0.0;
    if along > 0.0 {
        px = bx - px;
        py = by - py;
        along = px * bx + py * by;
        if along > 0.0 {
            projected = along * along / (bx * bx + by * by);
        }
    }
    (px * px + py * py - projected).max(0.0)
}
