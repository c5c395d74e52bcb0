//! ImageJ's ROI files: a reader of every type that ImageJ writes, a writer, archives, and the pixels that ImageJ would fill.
//!
//! Coordinates run along pixel corners (see [`crate::geometry`]). Where ImageJ versions differ, 1.53t is followed.

pub mod archive;
mod contour;
mod decode;
mod encode;
mod layout;
mod outline;
mod path;
mod rasterise;
mod shape;
mod spline;

pub use contour::from_mask;
pub use decode::decode;
pub use encode::encode;
pub use shape::RoiKind;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Mask, Rect};
use outline::Interior;
use shape::{Frame, Points, Segment, Shape};

/// A region of interest.
///
/// `kind` and `bounds` follow from the shape, which is private; changing them changes nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Roi {
    /// Empty where the file holds none; ImageJ then shows the file's name.
    pub name: String,
    pub kind: RoiKind,
    /// The box that ImageJ reports: whole pixels around the coordinates, not the numbers in the file's header.
    pub bounds: Rect,
    /// Slice in a stack, counted from 1; 0 for none.
    pub position: u32,
    /// Channel, slice and frame in a hyperstack, counted from 1; 0 for none.
    pub channel: u32,
    pub z: u32,
    pub t: u32,
    /// 0 for none. ImageJ draws members of a group in the group's own colour.
    pub group: u8,
    /// Red, green, blue, opacity.
    pub stroke_color: Option<[u8; 4]>,
    /// Red, green, blue, opacity.
    pub fill_color: Option<[u8; 4]>,
    /// In pixels; 0 for ImageJ's default.
    pub stroke_width: f32,
    /// Lines of `key: value`.
    pub properties: String,
    shape: Shape,
    interior: Interior,
    n_points: usize,
}

impl Roi {
    /// A ROI of a shape, with nothing else set.
    fn new(kind: RoiKind, shape: Shape, stroke_width: f32) -> Result<Roi, String> {
        let outline::Derived { bounds, interior, n_points } = outline::derive(kind, &shape, stroke_width)?;
        if !rasterise::is_affordable(&interior, bounds) {
            return Err(format!("its outline is too large to fill: {} x {} pixels", bounds.width, bounds.height));
        }
        Ok(Roi {
            name: String::new(),
            kind,
            bounds,
            position: 0,
            channel: 0,
            z: 0,
            t: 0,
            group: 0,
            stroke_color: None,
            fill_color: None,
            stroke_width,
            properties: String::new(),
            shape,
            interior,
            n_points,
        })
    }

    /// A rectangle of whole pixels.
    pub fn rectangle(rect: Rect) -> Roi {
        Self::known(RoiKind::Rectangle, Shape::Rectangle { frame: Frame::Whole(rect), corner_diameter: 0 })
    }

    /// A closed polygon whose corners are corners of pixels, in order.
    ///
    /// # Errors
    /// If there are fewer than 3 corners, or if it is too large to be filled.
    pub fn polygon(corners: Vec<[i32; 2]>) -> Result<Roi> {
        if corners.len() < 3 {
            return Err(Error::new(ErrorKind::Data, format!("a polygon of {} corners encloses nothing", corners.len())));
        }
        let shape = Shape::Outline { points: Points::Whole(corners), spline: false };
        Roi::new(RoiKind::Polygon, shape, 0.0).map_err(|what| Error::new(ErrorKind::Data, what))
    }

    /// A ROI of a shape that is known to be sensible.
    fn known(kind: RoiKind, shape: Shape) -> Roi {
        Roi::new(kind, shape, 0.0).unwrap_or_else(|what| panic!("a shape made by the program: {what}"))
    }

    /// Whether ImageJ counts it among the areas. Text and images are (their box); see [`Roi::is_annotation`].
    pub fn is_area(&self) -> bool {
        self.kind.is_area()
    }

    /// Whether it outlines something in the picture: an area that is neither a text nor an image.
    pub fn is_annotation(&self) -> bool {
        self.is_area() && !matches!(self.kind, RoiKind::Text | RoiKind::Image)
    }

    /// The number of points that ImageJ reports (corners after flattening curves and fitting splines).
    pub fn n_points(&self) -> usize {
        self.n_points
    }

    /// The number of pixels that ImageJ fills, wherever they lie; 0 for lines and points. Counted by spans.
    pub fn mask_area_px(&self) -> u64 {
        if self.interior == Interior::Box {
            return u64::from(self.bounds.width) * u64::from(self.bounds.height);
        }
        let mut area = 0;
        rasterise::spans(&self.interior, self.bounds, i64::MAX, |_, from, to| area += (to - from) as u64);
        area
    }

    /// The pixels that ImageJ fills, moved by (`dx`, `dy`), in an image of `width` x `height`; what lies outside is cut off.
    pub fn fill(&self, width: usize, height: usize, dx: i32, dy: i32) -> Mask {
        let mut mask = Mask::new(width, height);
        let left = i64::from(self.bounds.left) + i64::from(dx);
        let top = i64::from(self.bounds.top) + i64::from(dy);
        let last_row = height as i64 - top;
        rasterise::spans(&self.interior, self.bounds, last_row, |y, from, to| mask.set_span(top + y, left + from, left + to));
        mask
    }

    /// Whether its box leaves an image of `width` x `height` on any side.
    pub fn leaves(&self, width: usize, height: usize) -> bool {
        let Rect { left, top, width: w, height: h } = self.bounds;
        left < 0 || top < 0 || i64::from(left) + i64::from(w) > width as i64 || i64::from(top) + i64::from(h) > height as i64
    }

    /// The ROI moved by whole pixels.
    ///
    /// # Errors
    /// If the coordinates leave what ImageJ can hold.
    pub fn translated(&self, dx: i32, dy: i32) -> Result<Roi> {
        let shape = self.shape.translated(dx, dy).ok_or("moved beyond the largest coordinate".to_owned());
        let moved = shape.and_then(|shape| Roi::new(self.kind, shape, self.stroke_width));
        let moved = moved.map_err(|what| Error::new(ErrorKind::Data, format!("ROI {}: {what}", self.name)))?;
        let Roi { kind, bounds, shape, interior, n_points, .. } = moved;
        Ok(Roi { kind, bounds, shape, interior, n_points, ..self.clone() })
    }

    /// Its properties, in their order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.lines().filter_map(|line| line.split_once(": "))
    }

    /// The value of a property.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Sets a property; line breaks and colons have no place in its key, nor line breaks in its value.
    pub fn set_property(&mut self, key: &str, value: &str) {
        let mut lines: Vec<String> = self
            .properties
            .lines()
            .filter(|line| line.split_once(": ").is_none_or(|(k, _)| k != key))
            .map(str::to_owned)
            .collect();
        lines.push(format!("{key}: {value}"));
        self.properties = lines.join("\n") + "\n";
    }
}

impl Shape {
    fn translated(&self, dx: i32, dy: i32) -> Option<Shape> {
        let (x, y) = (dx as f32, dy as f32);
        let moved = |[a, b]: [f32; 2]| [a + x, b + y];
        let ends = |[a, b, c, d]: [f32; 4]| [a + x, b + y, c + x, d + y];
        let rect = |r: Rect| Some(Rect { left: r.left.checked_add(dx)?, top: r.top.checked_add(dy)?, ..r });
        let frame = |frame: Frame| match frame {
            Frame::Whole(r) => rect(r).map(Frame::Whole),
            Frame::SubPixel([a, b, w, h]) => Some(Frame::SubPixel([a + x, b + y, w, h])),
        };
        let points = |points: &Points| match points {
            Points::Whole(p) => {
                p.iter().map(|p| Some([p[0].checked_add(dx)?, p[1].checked_add(dy)?])).collect::<Option<_>>().map(Points::Whole)
            }
            Points::SubPixel(p) => Some(Points::SubPixel(p.iter().copied().map(moved).collect())),
        };
        let mut shape = self.clone();
        match &mut shape {
            Shape::Rectangle { frame: f, .. } | Shape::Oval(f) | Shape::Text { frame: f, .. } | Shape::Image { frame: f, .. } => {
                *f = frame(*f)?;
            }
            Shape::Outline { points: p, .. } | Shape::Markers { points: p, .. } => *p = points(p)?,
            Shape::Line { ends: e, header_box, .. } => (*e, *header_box) = (ends(*e), rect(*header_box)?),
            Shape::Ellipse { axis, .. } | Shape::RotatedRectangle { axis, .. } => *axis = ends(*axis),
            Shape::Path(segments) => *segments = path::translate(segments, f64::from(dx), f64::from(dy)),
        }
        Some(shape)
    }

    /// Whether every coordinate is a number that a picture could have.
    fn is_sensible(&self) -> bool {
        /// Beyond it, f32 no longer holds whole pixels.
        const LIMIT: f32 = (1 << 24) as f32;
        let ok = |v: &f32| v.abs() <= LIMIT;
        let frame = |frame: &Frame| match frame {
            Frame::Whole(_) => true,
            Frame::SubPixel(v) => v.iter().all(ok),
        };
        let points = |points: &Points| match points {
            Points::Whole(_) => true,
            Points::SubPixel(p) => p.as_flattened().iter().all(ok),
        };
        match self {
            Shape::Rectangle { frame: f, .. } | Shape::Oval(f) | Shape::Text { frame: f, .. } | Shape::Image { frame: f, .. } => {
                frame(f)
            }
            Shape::Outline { points: p, .. } | Shape::Markers { points: p, .. } => points(p),
            Shape::Line { ends, .. } => ends.iter().all(ok),
            Shape::Ellipse { axis, aspect_ratio: extra } | Shape::RotatedRectangle { axis, width: extra } => {
                axis.iter().all(ok) && ok(extra)
            }
            Shape::Path(segments) => segments.iter().all(|segment| match segment {
                Segment::Move(p) | Segment::Line(p) => p.iter().all(ok),
                Segment::Quadratic(p) => p.as_flattened().iter().all(ok),
                Segment::Cubic(p) => p.as_flattened().iter().all(ok),
                Segment::Close => true,
            }),
        }
    }
}
