//! Writes `.roi` files that ImageJ reads as we mean them.
//!
//! Whole coordinates are written as 16-bit numbers where they fit, else with sub-pixels; a closed outline of more than 65,535 points
//! becomes a composite, as in ImageJ. The options of overlay labels are not kept.

use super::layout::{self, options, subtypes, types};
use super::shape::{Frame, Marker, Points, RoiKind, Segment, Shape, TextBlock};
use super::{Interior, Roi};
use crate::geometry::Rect;

/// The bytes of a `.roi` file.
pub fn encode(roi: &Roi) -> Vec<u8> {
    let mut out = Writer(vec![0; layout::HEADER_SIZE]);
    out.bytes(0, layout::MAGIC);
    out.u16(layout::VERSION, layout::VERSION_WRITTEN);
    out.u8(layout::TYPE, type_byte(roi));
    put_box(&mut out, roi.bounds);
    out.i32(layout::POSITION, roi.position as i32);
    out.u16(layout::STROKE_WIDTH, roi.stroke_width as u16);
    out.color(layout::STROKE_COLOR, roi.stroke_color);
    out.color(layout::FILL_COLOR, roi.fill_color);
    out.or_options(options::SCALE_STROKE_WIDTH);
    let counters = put_shape(&mut out, roi);
    put_header2(&mut out, roi, counters);
    out.0
}

/// Bytes that grow, written at offsets.
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        if self.0.len() < at + bytes.len() {
            self.0.resize(at + bytes.len(), 0);
        }
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u8(&mut self, at: usize, value: u8) {
        self.bytes(at, &[value]);
    }

    fn u16(&mut self, at: usize, value: u16) {
        self.bytes(at, &value.to_be_bytes());
    }

    fn i32(&mut self, at: usize, value: i32) {
        self.bytes(at, &value.to_be_bytes());
    }

    fn f32(&mut self, at: usize, value: f32) {
        self.bytes(at, &value.to_be_bytes());
    }

    fn f32s(&mut self, at: usize, values: &[f32]) {
        for (i, value) in values.iter().enumerate() {
            self.f32(at + 4 * i, *value);
        }
    }

    fn color(&mut self, at: usize, color: Option<[u8; 4]>) {
        let [r, g, b, a] = color.unwrap_or_default();
        self.bytes(at, &[a, r, g, b]);
    }

    fn or_options(&mut self, bits: u16) {
        let at = layout::OPTIONS;
        let before = u16::from_be_bytes([self.0[at], self.0[at + 1]]);
        self.u16(at, before | bits);
    }

    fn push_utf16(&mut self, units: &[u16]) {
        units.iter().for_each(|unit| self.0.extend_from_slice(&unit.to_be_bytes()));
    }
}

/// Whether a closed outline has more points than its counter can hold.
fn becomes_composite(roi: &Roi) -> bool {
    let closed = matches!(roi.kind, RoiKind::Polygon | RoiKind::Freehand | RoiKind::Traced);
    closed && matches!(&roi.shape, Shape::Outline { points, .. } if points.len() > usize::from(u16::MAX))
}

fn type_byte(roi: &Roi) -> u8 {
    match roi.kind {
        _ if becomes_composite(roi) => types::RECT,
        RoiKind::Polygon => types::POLYGON,
        RoiKind::Freehand | RoiKind::Ellipse | RoiKind::RotatedRectangle => types::FREEHAND,
        RoiKind::Traced => types::TRACED,
        RoiKind::Rectangle | RoiKind::Text | RoiKind::Image | RoiKind::Composite => types::RECT,
        RoiKind::Oval => types::OVAL,
        RoiKind::Line | RoiKind::Arrow => types::LINE,
        RoiKind::Polyline => types::POLYLINE,
        RoiKind::Freeline => types::FREELINE,
        RoiKind::Angle => types::ANGLE,
        RoiKind::Point => types::POINT,
    }
}

fn corners(rect: Rect) -> [i64; 4] {
    let (left, top) = (i64::from(rect.left), i64::from(rect.top));
    [top, left, top + i64::from(rect.height), left + i64::from(rect.width)]
}

/// Whether 16-bit numbers give the box back.
fn fits_shorts(rect: Rect) -> bool {
    let (least, largest) = (i64::from(layout::LEAST_SIGNED_SHORT), i64::from(layout::LARGEST_SHORT));
    corners(rect).iter().all(|v| (least..=largest).contains(v)) && rect.width.max(rect.height) <= layout::LARGEST_SHORT as u32
}

fn put_box(out: &mut Writer, rect: Rect) {
    for (at, value) in [layout::TOP, layout::LEFT, layout::BOTTOM, layout::RIGHT].into_iter().zip(corners(rect)) {
        out.u16(at, value as u16);
    }
}

fn put_frame(out: &mut Writer, frame: Frame) {
    match frame {
        Frame::Whole(rect) if fits_shorts(rect) => put_box(out, rect),
        Frame::Whole(Rect { left, top, width, height }) => {
            put_frame(out, Frame::SubPixel([left as f32, top as f32, width as f32, height as f32]));
        }
        Frame::SubPixel(values) => {
            out.f32s(layout::X1, &values);
            out.or_options(options::SUB_PIXEL_RESOLUTION);
        }
    }
}

/// Writes the shape and returns the counters of its points.
fn put_shape<'a>(out: &mut Writer, roi: &'a Roi) -> &'a [u32] {
    match &roi.shape {
        Shape::Rectangle { frame, corner_diameter } => {
            put_frame(out, *frame);
            out.u16(layout::ROUNDED_RECT_ARC_SIZE, *corner_diameter);
        }
        Shape::Oval(frame) => put_frame(out, *frame),
        Shape::Text { frame, text } => {
            put_frame(out, *frame);
            put_text(out, text);
        }
        Shape::Image { frame, tiff, .. } => {
            put_frame(out, *frame);
            out.u16(layout::SUBTYPE, subtypes::IMAGE);
            out.bytes(layout::COORDINATES, tiff);
        }
        Shape::Path(segments) => put_path(out, segments),
        Shape::Outline { .. } if becomes_composite(roi) => put_path(out, &outline_path(roi)),
        Shape::Outline { points, spline } => {
            put_points(out, points, roi.bounds, *spline);
            if *spline {
                out.or_options(options::SPLINE_FIT);
            }
        }
        Shape::Markers { points, marker } => {
            put_markers(out, points, marker, roi.bounds);
            return &marker.counters;
        }
        Shape::Line { ends, arrow, header_box } => {
            out.f32s(layout::X1, ends);
            if let Some(arrow) = arrow {
                put_box(out, *header_box);
                out.u16(layout::SUBTYPE, subtypes::ARROW);
                out.u8(layout::ARROW_STYLE, arrow.style);
                out.u8(layout::ARROW_HEAD_SIZE, arrow.size);
                out.or_options(if arrow.double_headed { options::DOUBLE_HEADED } else { 0 });
                out.or_options(if arrow.outline { options::OUTLINE } else { 0 });
            }
        }
        Shape::Ellipse { axis, aspect_ratio } => put_axis(out, roi, subtypes::ELLIPSE, axis, *aspect_ratio),
        Shape::RotatedRectangle { axis, width } => put_axis(out, roi, subtypes::ROTATED_RECT, axis, *width),
    }
    &[]
}

/// Ellipses and rotated rectangles carry their corners too, for readers that know nothing of them.
fn put_axis(out: &mut Writer, roi: &Roi, subtype: u16, axis: &[f32; 4], parameter: f32) {
    if let Interior::Polygons { xs, ys, .. } = &roi.interior {
        let at = |(x, y): (&f32, &f32)| [x + roi.bounds.left as f32, y + roi.bounds.top as f32];
        put_points(out, &Points::SubPixel(xs.iter().zip(ys).map(at).collect()), roi.bounds, false);
    }
    out.u16(layout::SUBTYPE, subtype);
    out.f32s(layout::X1, axis);
    out.f32(layout::FLOAT_PARAM, parameter);
}

fn put_points(out: &mut Writer, points: &Points, bounds: Rect, spline: bool) {
    let (n, base) = (points.len(), layout::COORDINATES);
    match u16::try_from(n) {
        Ok(short) => out.u16(layout::N_COORDINATES, short),
        Err(_) => out.i32(layout::SIZE, n as i32),
    }
    let origin = [bounds.left, bounds.top];
    let floats: Vec<[f32; 2]> = match points {
        Points::Whole(p) => {
            // Of a spline, `bounds` holds the curve; whole coordinates are relative to the box of its corners.
            let corners = if spline { corner_box(p) } else { bounds };
            if fits_shorts(corners) {
                put_box(out, corners);
                put_shorts(out, p, [corners.left, corners.top]);
                return;
            }
            p.iter().map(|p| p.map(|v| v as f32)).collect()
        }
        Points::SubPixel(p) => p.clone(),
    };
    let rounded: Vec<[i32; 2]> = floats.iter().map(|p| p.map(|v| (v + 0.5).floor() as i32)).collect();
    put_shorts(out, &rounded, origin);
    for (i, [x, y]) in floats.iter().enumerate() {
        out.f32(base + 4 * n + 4 * i, *x);
        out.f32(base + 8 * n + 4 * i, *y);
    }
    out.or_options(options::SUB_PIXEL_RESOLUTION);
}

fn corner_box(points: &[[i32; 2]]) -> Rect {
    let side = |axis: usize| {
        let low = points.iter().map(|p| p[axis]).min().unwrap_or(0);
        let high = points.iter().map(|p| p[axis]).max().unwrap_or(0);
        (low, high.abs_diff(low))
    };
    let ((left, width), (top, height)) = (side(0), side(1));
    Rect { left, top, width, height }
}

fn put_shorts(out: &mut Writer, points: &[[i32; 2]], [left, top]: [i32; 2]) {
    let (n, base) = (points.len(), layout::COORDINATES);
    for (i, [x, y]) in points.iter().enumerate() {
        out.u16(base + 2 * i, x.wrapping_sub(left) as u16);
        out.u16(base + 2 * n + 2 * i, y.wrapping_sub(top) as u16);
    }
}

fn put_markers(out: &mut Writer, points: &Points, marker: &Marker, bounds: Rect) {
    let floats = match points {
        Points::Whole(p) => Points::SubPixel(p.iter().map(|p| p.map(|v| v as f32)).collect()),
        Points::SubPixel(_) => points.clone(),
    };
    put_points(out, &floats, bounds, false);
    out.u8(layout::ARROW_STYLE, marker.style);
    out.u16(layout::STROKE_WIDTH, marker.size);
    out.or_options(if marker.labels { options::SHOW_LABELS } else { 0 });
}

fn put_text(out: &mut Writer, text: &TextBlock) {
    out.u16(layout::SUBTYPE, subtypes::TEXT);
    let base = layout::COORDINATES;
    for (i, value) in [text.size, text.style, text.font.len() as i32, text.text.len() as i32].into_iter().enumerate() {
        out.i32(base + 4 * i, value);
    }
    out.push_utf16(&text.font);
    out.push_utf16(&text.text);
    out.f32(out.0.len(), text.angle);
}

/// A closed outline as a path.
fn outline_path(roi: &Roi) -> Vec<Segment> {
    let Shape::Outline { points, .. } = &roi.shape else { return Vec::new() };
    let points: Vec<[f32; 2]> = match points {
        Points::Whole(p) => p.iter().map(|p| p.map(|v| v as f32)).collect(),
        Points::SubPixel(p) => p.clone(),
    };
    let line = |(i, p): (usize, [f32; 2])| if i == 0 { Segment::Move(p) } else { Segment::Line(p) };
    points.into_iter().enumerate().map(line).chain([Segment::Close]).collect()
}

fn put_path(out: &mut Writer, segments: &[Segment]) {
    let mut values = Vec::new();
    for segment in segments {
        match segment {
            Segment::Move(p) => values.extend([0.0, p[0], p[1]]),
            Segment::Line(p) => values.extend([1.0, p[0], p[1]]),
            Segment::Quadratic(p) => values.extend([2.0].iter().chain(p.as_flattened())),
            Segment::Cubic(p) => values.extend([3.0].iter().chain(p.as_flattened())),
            Segment::Close => values.push(4.0),
        }
    }
    out.i32(layout::SHAPE_ROI_SIZE, values.len() as i32);
    out.f32s(layout::COORDINATES, &values);
}

fn put_header2(out: &mut Writer, roi: &Roi, counters: &[u32]) {
    let base = out.0.len();
    out.i32(layout::HEADER2_OFFSET, base as i32);
    out.0.resize(base + layout::HEADER2_SIZE, 0);
    out.i32(base + layout::H2_C_POSITION, roi.channel as i32);
    out.i32(base + layout::H2_Z_POSITION, roi.z as i32);
    out.i32(base + layout::H2_T_POSITION, roi.t as i32);
    out.u8(base + layout::H2_GROUP, roi.group);
    out.f32(base + layout::H2_FLOAT_STROKE_WIDTH, roi.stroke_width);
    if let Shape::Image { tiff, opacity, .. } = &roi.shape {
        out.i32(base + layout::H2_IMAGE_SIZE, tiff.len() as i32);
        out.u8(base + layout::H2_IMAGE_OPACITY, *opacity);
    }
    let strings = [
        (&roi.name, layout::H2_NAME_OFFSET, layout::H2_NAME_LENGTH),
        (&roi.properties, layout::H2_ROI_PROPS_OFFSET, layout::H2_ROI_PROPS_LENGTH),
    ];
    for (string, offset_at, length_at) in strings {
        let units: Vec<u16> = string.encode_utf16().collect();
        if !units.is_empty() {
            out.i32(base + offset_at, out.0.len() as i32);
            out.i32(base + length_at, units.len() as i32);
            out.push_utf16(&units);
        }
    }
    if !counters.is_empty() {
        out.i32(base + layout::H2_COUNTERS_OFFSET, out.0.len() as i32);
        counters.iter().for_each(|counter| out.0.extend_from_slice(&counter.to_be_bytes()));
    }
}
