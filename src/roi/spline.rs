//! ImageJ's spline through the corners of an outline (`PolygonRoi.fitSpline` and `SplineFitter`), in its own mix of f32 and f64.
//!
//! x and y are natural cubic splines over a parameter that grows by the square root of the distance between corners. A closed
//! outline is continued by up to seven corners on both sides so that the curve is smooth where it closes.

use super::outline::Relative;
use super::shape::RoiKind;

const FEWEST_POINTS: i64 = 100;
const CONTINUATION: usize = 7;
/// More points than this are refused: a hostile file could otherwise ask for gigabytes.
const MAX_POINTS: i64 = 1 << 20;

/// The points of the spline, relative to the same origin as the corners; `None` where the outline is too long or has one point.
pub(super) fn fit(corners: &Relative, kind: RoiKind, sub_pixel: bool) -> Option<(Vec<f32>, Vec<f32>)> {
    let n_points = ((length(corners, kind, sub_pixel) / 2.0) as i64).max(FEWEST_POINTS);
    let open = matches!(kind, RoiKind::Polyline | RoiKind::Freeline);
    if n_points > MAX_POINTS || corners.xs.len() < 2 {
        return None;
    }
    let (mut xs, mut ys) = (corners.xs.clone(), corners.ys.clone());
    if !open {
        xs.push(xs[0]);
        ys.push(ys[0]);
    }
    let nodes = node_positions(&xs, &ys);
    let scale = f64::from(nodes[nodes.len() - 1]) / (n_points - 1) as f64;
    let evaluate = |values: &[f32]| {
        let spline = Spline::new(&nodes, values, !open);
        (0..n_points).map(|i| spline.at(i as f64 * scale) as f32).collect()
    };
    Some((evaluate(&xs), evaluate(&ys)))
}

fn node_positions(xs: &[f32], ys: &[f32]) -> Vec<f32> {
    let mut position = 0.0_f32;
    let mut nodes = vec![position];
    for i in 1..xs.len() {
        let (dx, dy) = (xs[i] - xs[i - 1], ys[i] - ys[i - 1]);
        let step = f64::from(dx * dx + dy * dy).sqrt().sqrt() as f32;
        position += step.max(0.001);
        nodes.push(position);
    }
    nodes
}

/// The length of the outline as ImageJ measures it for its type, in pixels.
fn length(corners: &Relative, kind: RoiKind, sub_pixel: bool) -> f64 {
    let (xs, ys) = (&corners.xs, &corners.ys);
    let n = xs.len();
    if kind == RoiKind::Traced && sub_pixel {
        // ImageJ cannot tell the length of these, and takes the fewest points.
        return 0.0;
    }
    if is_traced(corners, kind) {
        return traced_perimeter(xs, ys);
    }
    if n > 2 && kind.name() == "Freehand" {
        return smoothed_length(corners) + distance(xs[n - 1] - xs[0], ys[n - 1] - ys[0]);
    }
    if n > 2 && kind == RoiKind::Freeline && corners.rect.width != 0 && corners.rect.height != 0 {
        return smoothed_length(corners);
    }
    let along: f64 = (1..n).map(|i| distance(xs[i] - xs[i - 1], ys[i] - ys[i - 1])).sum();
    if kind.is_area() { along + distance(xs[0] - xs[n - 1], ys[0] - ys[n - 1]) } else { along }
}

fn distance(dx: f32, dy: f32) -> f64 {
    let (dx, dy) = (f64::from(dx), f64::from(dy));
    (dx * dx + dy * dy).sqrt()
}

fn is_traced(corners: &Relative, kind: RoiKind) -> bool {
    if kind != RoiKind::Polygon {
        return kind == RoiKind::Traced;
    }
    let n = corners.xs.len();
    (0..n).all(|i| {
        let (x, y) = (corners.xs[i], corners.ys[i]);
        let next = (i + 1) % n;
        (corners.xs[next] == x || corners.ys[next] == y) && x.trunc() == x && y.trunc() == y
    })
}

/// A traced outline is shorter at its corners, where it cuts across pixels.
fn traced_perimeter(xs: &[f32], ys: &[f32]) -> f64 {
    let n = xs.len();
    if n < 4 {
        return 0.0;
    }
    let step = |from: usize, to: usize| {
        let (dx, dy) = (xs[to].trunc() - xs[from].trunc(), ys[to].trunc() - ys[from].trunc());
        f64::from(dx).abs() + f64::from(dy).abs()
    };
    let (mut sum, mut n_corners, mut corner) = (0.0, 0.0, false);
    let mut side = step(n - 1, 0);
    for i in 0..n {
        sum += side;
        if side > 1.0 || !corner {
            corner = true;
            n_corners += 1.0;
        } else {
            corner = false;
        }
        side = step(i, (i + 1) % n);
    }
    sum - n_corners * (2.0 - 2.0_f64.sqrt())
}

/// The length of the outline after a running mean over three points.
fn smoothed_length(corners: &Relative) -> f64 {
    let n = corners.xs.len();
    let first = |v: &[f32]| third(v[0] + v[1] + v[2]) - f64::from(v[0]);
    let last = |v: &[f32]| f64::from(v[n - 1]) - third(v[n - 3] + v[n - 2] + v[n - 1]);
    let between = |v: &[f32], i: usize| third(v[i + 2] - v[i - 1]);
    let norm = |dx: f64, dy: f64| (dx * dx + dy * dy).sqrt();
    let (xs, ys) = (&corners.xs, &corners.ys);
    let mut length = norm(first(xs), first(ys));
    for i in 1..n - 2 {
        length += norm(between(xs, i), between(ys, i));
    }
    length + norm(last(xs), last(ys))
}

fn third(sum: f32) -> f64 {
    f64::from(sum) / 3.0
}

struct Spline {
    nodes: Vec<f32>,
    values: Vec<f32>,
    /// Second derivatives at the nodes.
    curvature: Vec<f64>,
}

impl Spline {
    fn new(nodes: &[f32], values: &[f32], closed: bool) -> Spline {
        let (nodes, values) = if closed { continued(nodes, values) } else { (nodes.to_vec(), values.to_vec()) };
        let curvature = second_derivatives(&nodes, &values);
        Spline { nodes, values, curvature }
    }

    fn at(&self, t: f64) -> f64 {
        let (mut low, mut high) = (0, self.nodes.len() - 1);
        while high - low > 1 {
            let middle = (high + low) / 2;
            if f64::from(self.nodes[middle]) > t { high = middle } else { low = middle }
        }
        let h = f64::from(self.nodes[high] - self.nodes[low]);
        if h == 0.0 {
            return 0.0;
        }
        let a = (f64::from(self.nodes[high]) - t) / h;
        let b = (t - f64::from(self.nodes[low])) / h;
        a * f64::from(self.values[low])
            + b * f64::from(self.values[high])
            + ((a * a * a - a) * self.curvature[low] + (b * b * b - b) * self.curvature[high]) * (h * h) / 6.0
    }
}

/// A closed outline (last value = first) with its ends continued around.
fn continued(nodes: &[f32], values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let n = nodes.len();
    let extra = CONTINUATION.min(n - 1);
    let (mut x, mut y) = (Vec::with_capacity(n + 2 * extra), Vec::with_capacity(n + 2 * extra));
    for i in n - 1 - extra..n - 1 {
        x.push(nodes[i] - nodes[n - 1]);
        y.push(values[i]);
    }
    x.extend_from_slice(nodes);
    y.extend_from_slice(values);
    for i in 1..=extra {
        x.push(nodes[i] - nodes[0] + nodes[n - 1]);
        y.push(values[i]);
    }
    (x, y)
}

/// Second derivatives of the natural cubic spline: a tridiagonal system, eliminated forwards and substituted backwards.
fn second_derivatives(x: &[f32], y: &[f32]) -> Vec<f64> {
    let n = x.len();
    let (mut second, mut u) = (vec![0.0_f64; n], vec![0.0_f64; n]);
    let wide = |v: f32| f64::from(v);
    for j in 1..n - 1 {
        let ratio = (wide(x[j]) - wide(x[j - 1])) / (wide(x[j + 1]) - wide(x[j - 1]));
        let p = ratio * second[j - 1] + 2.0;
        second[j] = (ratio - 1.0) / p;
        let slope_change =
            (wide(y[j + 1]) - wide(y[j])) / wide(x[j + 1] - x[j]) - (wide(y[j]) - wide(y[j - 1])) / wide(x[j] - x[j - 1]);
        u[j] = (6.0 * slope_change / wide(x[j + 1] - x[j - 1]) - ratio * u[j - 1]) / p;
    }
    for k in (0..n - 1).rev() {
        second[k] = second[k] * second[k + 1] + u[k];
    }
    second
}
