//! From what a file states to what ImageJ holds: the box in whole pixels, and coordinates relative to it in f32.

use super::path;
use super::shape::{Frame, Points, RoiKind, Segment, Shape};
use super::spline;
use crate::geometry::Rect;

/// An outline relative to `base`, which for sub-pixel outlines is not a whole number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Relative {
    pub xs: Vec<f32>,
    pub ys: Vec<f32>,
    pub base: [f64; 2],
    pub rect: Rect,
}

/// The pixels that a ROI encloses, ready to be filled.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Interior {
    Nothing,
    Box,
    Oval,
    /// Outlines relative to the box's corner minus `offset`, kept apart by `path::SEPARATOR`.
    Polygons {
        xs: Vec<f32>,
        ys: Vec<f32>,
        offset: [f64; 2],
    },
}

/// What is derived from a shape.
pub(super) struct Derived {
    pub bounds: Rect,
    pub interior: Interior,
    pub n_points: usize,
}

/// Derives box, interior and number of points as ImageJ does.
///
/// # Errors
/// A message, if the shape asks for more points than could be sensible.
pub(super) fn derive(kind: RoiKind, shape: &Shape, stroke_width: f32) -> Result<Derived, String> {
    match shape {
        Shape::Rectangle { frame, corner_diameter: 0 } => Ok(boxed(frame_box(*frame), 4)),
        Shape::Rectangle { frame, corner_diameter } => rounded(frame_box(*frame), *corner_diameter),
        Shape::Text { frame, .. } | Shape::Image { frame, .. } => Ok(boxed(frame_box(*frame), 4)),
        Shape::Oval(frame) => {
            let bounds = frame_box(*frame);
            let outline = flat(&path::ellipse(bounds.width, bounds.height), path::COUNT_FLATNESS, false)?;
            Ok(Derived { bounds, interior: Interior::Oval, n_points: outline.xs.len() })
        }
        Shape::Line { ends, arrow, header_box } => {
            let bounds = if arrow.is_some() { *header_box } else { line_box(*ends) };
            let n_points = if stroke_width <= 1.0 { 2 } else { 4 };
            Ok(Derived { bounds, interior: Interior::Nothing, n_points })
        }
        Shape::Markers { points, .. } => {
            let relative = relative_sub_pixel(&as_floats(points), true);
            Ok(Derived { bounds: relative.rect, interior: Interior::Nothing, n_points: points.len() })
        }
        Shape::Outline { points, spline } => outline(kind, points, *spline),
        Shape::Ellipse { axis, aspect_ratio } => Ok(polygon(relative_to_pixel(&ellipse_points(*axis, *aspect_ratio)))),
        Shape::RotatedRectangle { axis, width } => Ok(polygon(relative_to_pixel(&rotated_rectangle_points(*axis, *width)))),
        Shape::Path(segments) => composite(segments),
    }
}

fn boxed(bounds: Rect, n_points: usize) -> Derived {
    Derived { bounds, interior: Interior::Box, n_points }
}

fn flat(segments: &[Segment], flatness: f64, separate: bool) -> Result<path::Polygons, String> {
    path::flatten(segments, flatness, separate).ok_or_else(|| "the path has too many curves to be real".to_owned())
}

fn rounded(bounds: Rect, corner_diameter: u16) -> Result<Derived, String> {
    let segments = path::rounded_rectangle(bounds.width, bounds.height, corner_diameter);
    let filled = flat(&segments, path::FILL_FLATNESS, true)?;
    let n_points = flat(&segments, path::COUNT_FLATNESS, false)?.xs.len();
    Ok(Derived { bounds, interior: Interior::Polygons { xs: filled.xs, ys: filled.ys, offset: [0.0; 2] }, n_points })
}

fn composite(segments: &[Segment]) -> Result<Derived, String> {
    let bounds = path::bounds(segments);
    let relative = path::translate(segments, -f64::from(bounds.left), -f64::from(bounds.top));
    let filled = flat(&relative, path::FILL_FLATNESS, true)?;
    let n_points = flat(&relative, path::COUNT_FLATNESS, false)?.xs.len();
    Ok(Derived { bounds, interior: Interior::Polygons { xs: filled.xs, ys: filled.ys, offset: [0.0; 2] }, n_points })
}

fn outline(kind: RoiKind, points: &Points, spline: bool) -> Result<Derived, String> {
    let line = !kind.is_area() && kind != RoiKind::Angle;
    let mut relative = match points {
        Points::Whole(points) => relative_whole(points, line),
        Points::SubPixel(points) => relative_sub_pixel(points, line),
    };
    if spline {
        let (xs, ys) = spline::fit(&relative, kind, matches!(points, Points::SubPixel(_)))
            .ok_or("a spline through this outline would have too many or too few points")?;
        let [x, y] = relative.base.map(|v| v as f32);
        let absolute: Vec<[f32; 2]> = xs.iter().zip(&ys).map(|(u, v)| [u + x, v + y]).collect();
        relative = relative_sub_pixel(&absolute, line);
    }
    let mut derived = polygon(relative);
    if !kind.is_area() {
        derived.interior = Interior::Nothing;
    }
    Ok(derived)
}

fn polygon(outline: Relative) -> Derived {
    let offset = [outline.base[0] - f64::from(outline.rect.left), outline.base[1] - f64::from(outline.rect.top)];
    let n_points = outline.xs.len();
    Derived { bounds: outline.rect, interior: Interior::Polygons { xs: outline.xs, ys: outline.ys, offset }, n_points }
}

/// The whole pixels of a frame: at least one each way, cut towards zero at the left, rounded up in size.
fn frame_box(frame: Frame) -> Rect {
    match frame {
        Frame::Whole(rect) => Rect { width: rect.width.max(1), height: rect.height.max(1), ..rect },
        Frame::SubPixel([x, y, w, h]) => {
            Rect { left: x as i32, top: y as i32, width: (w.ceil() as u32).max(1), height: (h.ceil() as u32).max(1) }
        }
    }
}

fn as_floats(points: &Points) -> Vec<[f32; 2]> {
    match points {
        Points::Whole(points) => points.iter().map(|p| p.map(|v| v as f32)).collect(),
        Points::SubPixel(points) => points.clone(),
    }
}

fn relative_whole(points: &[[i32; 2]], line: bool) -> Relative {
    let side = |axis: usize| {
        let low = points.iter().map(|p| p[axis]).min().unwrap_or(0);
        let high = points.iter().map(|p| p[axis]).max().unwrap_or(0);
        (low, high.abs_diff(low) + u32::from(line))
    };
    let ((left, width), (top, height)) = (side(0), side(1));
    Relative {
        xs: points.iter().map(|p| (p[0] - left) as f32).collect(),
        ys: points.iter().map(|p| (p[1] - top) as f32).collect(),
        base: [f64::from(left), f64::from(top)],
        rect: Rect { left, top, width, height },
    }
}

fn relative_sub_pixel(points: &[[f32; 2]], line: bool) -> Relative {
    let side = |axis: usize| {
        let (low, high) = float_range(points, axis);
        let (low, size) = (f64::from(low), f64::from(high - low));
        let (first, last) =
            if line { ((low + 0.5).floor(), (low + size + 1.0).floor()) } else { (low.floor(), (low + size).ceil()) };
        let first = first as i32;
        (low, first, (last as i64 - i64::from(first)).clamp(0, i64::from(u32::MAX)) as u32)
    };
    let ((x, left, width), (y, top, height)) = (side(0), side(1));
    Relative {
        xs: points.iter().map(|p| p[0] - x as f32).collect(),
        ys: points.iter().map(|p| p[1] - y as f32).collect(),
        base: [x, y],
        rect: Rect { left, top, width, height },
    }
}

/// The smallest and the largest coordinate. ImageJ starts looking for the largest at the smallest positive number, so the box of
/// an outline left of the image reaches the image's edge.
fn float_range(points: &[[f32; 2]], axis: usize) -> (f32, f32) {
    let low = points.iter().map(|p| p[axis]).fold(f32::MAX, f32::min);
    let high = points.iter().map(|p| p[axis]).fold(f32::from_bits(1), f32::max);
    (low, high)
}

/// Coordinates relative to the box's whole pixel, as ellipses and rotated rectangles keep them.
fn relative_to_pixel(points: &[[f32; 2]]) -> Relative {
    let side = |axis: usize| {
        let (low, high) = float_range(points, axis);
        let first = low.floor() as i32;
        (first, (f64::from(high - first as f32) + 0.5).max(0.0) as u32)
    };
    let ((left, width), (top, height)) = (side(0), side(1));
    Relative {
        xs: points.iter().map(|p| p[0] - left as f32).collect(),
        ys: points.iter().map(|p| p[1] - top as f32).collect(),
        base: [f64::from(left), f64::from(top)],
        rect: Rect { left, top, width, height },
    }
}

fn line_box([x1, y1, x2, y2]: [f32; 4]) -> Rect {
    let side = |a: f32, b: f32| {
        let (a, b) = (f64::from(a), f64::from(b));
        let low = a.min(b);
        let first = (low + 0.5).floor() as i32;
        let last = (low + (b - a).abs() + 1.0).floor();
        (first, (last as i64 - i64::from(first)).clamp(0, i64::from(u32::MAX)) as u32)
    };
    let ((left, width), (top, height)) = (side(x1, x2), side(y1, y2));
    Rect { left, top, width, height }
}

/// ImageJ's ellipse is a polygon of 72 corners, from the ends of its long axis and the ratio of the axes.
fn ellipse_points(axis: [f32; 4], aspect_ratio: f32) -> Vec<[f32; 2]> {
    use std::f64::consts::PI;
    let [x1, y1, x2, y2] = axis.map(f64::from);
    let (centre_x, centre_y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
    let (dx, dy) = (x2 - x1, y2 - y1);
    let major = (dx * dx + dy * dy).sqrt();
    let minor = major * f64::from(aspect_ratio).clamp(0.0, 1.0);
    let tilt = libm::atan2(dy, dx) * 180.0 / PI;
    (0..72)
        .map(|i| {
            let angle = f64::from(i) * 360.0 / 72.0 / 180.0 * PI;
            let (dx, dy) = (libm::cos(angle) * major / 2.0, libm::sin(angle) * minor / 2.0);
            let radius = (dx * dx + dy * dy).sqrt();
            let turned = libm::atan2(dy, dx) + tilt / 180.0 * PI;
            [(centre_x + libm::cos(turned) * radius) as f32, (centre_y + libm::sin(turned) * radius) as f32]
        })
        .collect()
}

/// The corners of a rectangle around an axis, the first one repeated as ImageJ keeps it.
fn rotated_rectangle_points(axis: [f32; 4], width: f32) -> Vec<[f32; 2]> {
    use std::f64::consts::FRAC_PI_2;
    let [x1, y1, x2, y2] = axis.map(f64::from);
    let angle = libm::atan((x2 - x1) / (y2 - y1));
    let half = f64::from(width) / 2.0;
    let (dx, dy) = (half * libm::sin(FRAC_PI_2 + angle), half * libm::cos(FRAC_PI_2 + angle));
    let corner = |x: f64, y: f64| [x as f32, y as f32];
    let first = corner(x1 + dx, y1 + dy);
    vec![first, corner(x2 + dx, y2 + dy), corner(x2 - dx, y2 - dy), corner(x1 - dx, y1 - dy), first]
}
