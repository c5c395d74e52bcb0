//! Reads `.roi` files: total over arbitrary bytes, as ImageJ's `RoiDecoder` reads those that it wrote.

use super::Roi;
use super::layout::{self, options, since, subtypes, types};
use super::shape::{ArrowHead, Frame, Marker, Points, RoiKind, Segment, Shape, TextBlock};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Rect;

/// Reads one ROI. The caller adds the file to the error, and the file's name where the ROI has none.
///
/// # Errors
/// If the bytes are no ROI, are cut short, or describe what no picture holds.
pub fn decode(bytes: &[u8]) -> Result<Roi> {
    read(&Bytes(bytes)).map_err(|what| {
        Error::new(ErrorKind::Data, format!("expected an ImageJ ROI, but {what}"))
            .remedy("open it in ImageJ and save it again, or leave it out")
    })
}

type Read<T> = Result<T, String>;

/// The file, read at offsets; reading beyond its end is an error.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&self, at: usize) -> Read<[u8; N]> {
        let end = at.checked_add(N).ok_or("an offset is too large")?;
        let bytes = self.0.get(at..end).ok_or_else(|| format!("the file ends at byte {}, before byte {end}", self.0.len()))?;
        Ok(bytes.try_into().unwrap_or([0; N]))
    }

    fn u8(&self, at: usize) -> Read<u8> {
        Ok(self.take::<1>(at)?[0])
    }

    fn u16(&self, at: usize) -> Read<u16> {
        Ok(u16::from_be_bytes(self.take(at)?))
    }

    /// A coordinate: signed, but unsigned where it would be far below zero.
    fn short(&self, at: usize) -> Read<i32> {
        let value = self.u16(at)?;
        let signed = i32::from(value as i16);
        Ok(if signed < layout::LEAST_SIGNED_SHORT { i32::from(value) } else { signed })
    }

    fn i32(&self, at: usize) -> Read<i32> {
        Ok(i32::from_be_bytes(self.take(at)?))
    }

    /// A count or an offset.
    fn size(&self, at: usize) -> Read<usize> {
        let value = self.i32(at)?;
        usize::try_from(value).map_err(|_| format!("a size of {value} is stated"))
    }

    fn f32(&self, at: usize) -> Read<f32> {
        Ok(f32::from_bits(u32::from_be_bytes(self.take(at)?)))
    }

    fn f32s<const N: usize>(&self, at: usize) -> Read<[f32; N]> {
        let mut out = [0.0; N];
        for (i, value) in out.iter_mut().enumerate() {
            *value = self.f32(at + 4 * i)?;
        }
        Ok(out)
    }

    /// Refuses a count of things that the file is too short to hold, before anything is allocated for them.
    fn must_hold(&self, at: usize, n: usize, each: usize) -> Read<()> {
        let end = n.checked_mul(each).and_then(|size| size.checked_add(at));
        match end {
            Some(end) if end <= self.0.len() => Ok(()),
            _ => Err(format!("{n} coordinates are stated and the file ends at byte {}", self.0.len())),
        }
    }

    fn utf16(&self, at: usize, length: usize) -> Read<Vec<u16>> {
        self.must_hold(at, length, 2)?;
        (0..length).map(|i| self.u16(at + 2 * i)).collect()
    }
}

/// The numbers that decide how the rest is read.
struct Header {
    version: i32,
    kind_byte: u8,
    subtype: u16,
    options: u16,
    rect: Rect,
    /// Absent in old files.
    header2: Option<usize>,
}

impl Header {
    fn read(bytes: &Bytes) -> Read<Header> {
        if bytes.0.get(..4) != Some(layout::MAGIC) {
            return Err("it does not begin with \"Iout\"".to_owned());
        }
        bytes.take::<{ layout::HEADER_SIZE }>(0)?;
        let (left, top) = (bytes.short(layout::LEFT)?, bytes.short(layout::TOP)?);
        let side = |from: i32, to: i32| u32::try_from(to - from).unwrap_or(0);
        let header2 = match bytes.i32(layout::HEADER2_OFFSET)? {
            0 => None,
            _ => Some(bytes.size(layout::HEADER2_OFFSET)?),
        };
        Ok(Header {
            version: bytes.short(layout::VERSION)?,
            kind_byte: bytes.u8(layout::TYPE)?,
            subtype: bytes.u16(layout::SUBTYPE)?,
            options: bytes.u16(layout::OPTIONS)?,
            rect: Rect {
                left,
                top,
                width: side(left, bytes.short(layout::RIGHT)?),
                height: side(top, bytes.short(layout::BOTTOM)?),
            },
            header2,
        })
    }

    fn has(&self, option: u16) -> bool {
        self.options & option != 0
    }

    fn is_sub_pixel(&self, from_version: i32) -> bool {
        self.version >= from_version && self.has(options::SUB_PIXEL_RESOLUTION)
    }
}

fn read(bytes: &Bytes) -> Read<Roi> {
    let header = Header::read(bytes)?;
    let (kind, shape) = read_shape(bytes, &header)?;
    if !shape.is_sensible() {
        return Err("a coordinate is no number that a picture could have".to_owned());
    }
    let stroke_width = read_stroke_width(bytes, &header, kind)?;
    let mut roi = Roi::new(kind, shape, stroke_width)?;
    if header.version >= since::STROKE_AND_SUBTYPE {
        roi.stroke_color = read_color(bytes, layout::STROKE_COLOR)?;
        roi.fill_color = read_color(bytes, layout::FILL_COLOR)?;
    }
    let count = |at: usize| bytes.i32(at).map(|value| value.max(0) as u32);
    roi.position = count(layout::POSITION)?;
    if let Some(header2) = header.header2 {
        roi.channel = count(header2 + layout::H2_C_POSITION)?;
        roi.z = count(header2 + layout::H2_Z_POSITION)?;
        roi.t = count(header2 + layout::H2_T_POSITION)?;
        if roi.channel > 0 || roi.z > 0 || roi.t > 0 {
            roi.position = 0;
        }
        roi.name = read_string(bytes, header2, layout::H2_NAME_OFFSET, layout::H2_NAME_LENGTH)?;
        if header.version >= since::PROPERTIES {
            roi.properties = read_string(bytes, header2, layout::H2_ROI_PROPS_OFFSET, layout::H2_ROI_PROPS_LENGTH)?;
        }
        if header.version >= since::GROUP {
            roi.group = bytes.u8(header2 + layout::H2_GROUP)?;
        }
    }
    Ok(roi)
}

fn read_shape(bytes: &Bytes, header: &Header) -> Read<(RoiKind, Shape)> {
    if bytes.i32(layout::SHAPE_ROI_SIZE)? > 0 {
        if header.kind_byte != types::RECT {
            return Err(format!("its type is {} and it holds a composite's path", header.kind_byte));
        }
        return Ok((RoiKind::Composite, read_path(bytes)?));
    }
    match header.kind_byte {
        types::RECT => read_box(bytes, header),
        types::OVAL => Ok((RoiKind::Oval, Shape::Oval(read_frame(bytes, header)?))),
        types::LINE => read_line(bytes, header),
        types::FREEHAND if header.subtype == subtypes::ELLIPSE => {
            let (axis, aspect_ratio) = (bytes.f32s(layout::X1)?, bytes.f32(layout::FLOAT_PARAM)?);
            Ok((RoiKind::Ellipse, Shape::Ellipse { axis, aspect_ratio }))
        }
        types::FREEHAND if header.subtype == subtypes::ROTATED_RECT => {
            let (axis, width) = (bytes.f32s(layout::X1)?, bytes.f32(layout::FLOAT_PARAM)?);
            Ok((RoiKind::RotatedRectangle, Shape::RotatedRectangle { axis, width }))
        }
        types::POINT => read_markers(bytes, header),
        other => {
            let kind = match other {
                types::POLYGON => RoiKind::Polygon,
                types::FREEHAND => RoiKind::Freehand,
                types::TRACED => RoiKind::Traced,
                types::POLYLINE => RoiKind::Polyline,
                types::FREELINE => RoiKind::Freeline,
                types::ANGLE => RoiKind::Angle,
                _ => return Err(format!("its type {other} is unknown")),
            };
            let spline = header.has(options::SPLINE_FIT) && header.version >= since::STROKE_AND_SUBTYPE;
            Ok((kind, Shape::Outline { points: read_points(bytes, header)?, spline }))
        }
    }
}

fn read_frame(bytes: &Bytes, header: &Header) -> Read<Frame> {
    if header.is_sub_pixel(since::SUB_PIXEL_BOX) {
        Ok(Frame::SubPixel(bytes.f32s(layout::X1)?))
    } else {
        Ok(Frame::Whole(header.rect))
    }
}

/// A rectangle, a text or an image.
fn read_box(bytes: &Bytes, header: &Header) -> Read<(RoiKind, Shape)> {
    let frame = read_frame(bytes, header)?;
    if header.subtype == subtypes::TEXT && header.version >= since::STROKE_AND_SUBTYPE {
        return Ok((RoiKind::Text, Shape::Text { frame, text: read_text(bytes, header)? }));
    }
    let is_image = header.subtype == subtypes::IMAGE && header.version >= since::IMAGE;
    if let (true, Some(header2)) = (is_image, header.header2) {
        let size = bytes.size(header2 + layout::H2_IMAGE_SIZE)?;
        bytes.must_hold(layout::COORDINATES, size, 1)?;
        let tiff = bytes.0[layout::COORDINATES..layout::COORDINATES + size].to_vec();
        let opacity = bytes.u8(header2 + layout::H2_IMAGE_OPACITY)?;
        return Ok((RoiKind::Image, Shape::Image { frame, tiff, opacity }));
    }
    let corner_diameter = bytes.short(layout::ROUNDED_RECT_ARC_SIZE)?.max(0) as u16;
    Ok((RoiKind::Rectangle, Shape::Rectangle { frame, corner_diameter }))
}

fn read_text(bytes: &Bytes, header: &Header) -> Read<TextBlock> {
    let base = layout::COORDINATES;
    let (n_font, n_text) = (bytes.size(base + 8)?, bytes.size(base + 12)?);
    let font = bytes.utf16(base + 16, n_font)?;
    let text = bytes.utf16(base + 16 + 2 * n_font, n_text)?;
    let has_angle = header.version >= since::TEXT_ANGLE;
    let angle = if has_angle { bytes.f32(base + 16 + 2 * (n_font + n_text))? } else { 0.0 };
    Ok(TextBlock { size: bytes.i32(base)?, style: bytes.i32(base + 4)?, font, text, angle })
}

fn read_line(bytes: &Bytes, header: &Header) -> Read<(RoiKind, Shape)> {
    let ends = bytes.f32s(layout::X1)?;
    if header.subtype != subtypes::ARROW {
        return Ok((RoiKind::Line, Shape::Line { ends, arrow: None, header_box: header.rect }));
    }
    let arrow = ArrowHead {
        style: bytes.u8(layout::ARROW_STYLE)?,
        size: bytes.u8(layout::ARROW_HEAD_SIZE)?,
        double_headed: header.has(options::DOUBLE_HEADED),
        outline: header.has(options::OUTLINE),
    };
    Ok((RoiKind::Arrow, Shape::Line { ends, arrow: Some(arrow), header_box: header.rect }))
}

fn read_markers(bytes: &Bytes, header: &Header) -> Read<(RoiKind, Shape)> {
    let points = read_points(bytes, header)?;
    let mut marker = Marker { labels: header.has(options::SHOW_LABELS), ..Marker::default() };
    if header.version >= since::POINT_MARKER {
        marker.style = bytes.u8(layout::ARROW_STYLE)?;
        marker.size = bytes.u16(layout::STROKE_WIDTH)?;
    }
    if let (true, Some(header2)) = (header.version >= since::COUNTERS, header.header2) {
        let at = bytes.size(header2 + layout::H2_COUNTERS_OFFSET)?;
        if at > 0 && bytes.must_hold(at, points.len(), 4).is_ok() {
            marker.counters = (0..points.len()).map(|i| bytes.i32(at + 4 * i).map(|v| v as u32)).collect::<Read<_>>()?;
        }
    }
    Ok((RoiKind::Point, Shape::Markers { points, marker }))
}

fn read_points(bytes: &Bytes, header: &Header) -> Read<Points> {
    let n = match bytes.u16(layout::N_COORDINATES)? {
        0 => bytes.size(layout::SIZE)?,
        n => usize::from(n),
    };
    if n == 0 {
        return Err("it holds no points".to_owned());
    }
    let base = layout::COORDINATES;
    bytes.must_hold(base, n, 4)?;
    if header.is_sub_pixel(since::SUB_PIXEL) {
        bytes.must_hold(base, n, 12)?;
        let (x, y) = (base + 4 * n, base + 8 * n);
        let points = (0..n).map(|i| Ok([bytes.f32(x + 4 * i)?, bytes.f32(y + 4 * i)?]));
        return points.collect::<Read<_>>().map(Points::SubPixel);
    }
    let (x, y) = (base, base + 2 * n);
    let Rect { left, top, .. } = header.rect;
    let points = (0..n).map(|i| Ok([left + bytes.short(x + 2 * i)?.max(0), top + bytes.short(y + 2 * i)?.max(0)]));
    points.collect::<Read<_>>().map(Points::Whole)
}

fn read_path(bytes: &Bytes) -> Read<Shape> {
    let n = bytes.size(layout::SHAPE_ROI_SIZE)?;
    bytes.must_hold(layout::COORDINATES, n, 4)?;
    let (mut at, end) = (layout::COORDINATES, layout::COORDINATES + 4 * n);
    let mut path: Vec<Segment> = Vec::new();
    while at < end {
        let number = bytes.f32(at)? as i32;
        let n_coordinates = match number {
            0 | 1 => 2,
            2 => 4,
            3 => 6,
            4 => 0,
            _ => return Err(format!("a path segment of type {number} is unknown")),
        };
        at += 4;
        if at + 4 * n_coordinates > end {
            break;
        }
        let c: [f32; 6] =
            std::array::from_fn(|i| if i < n_coordinates { bytes.f32(at + 4 * i).unwrap_or(f32::NAN) } else { 0.0 });
        at += 4 * n_coordinates;
        let segment = match number {
            0 => Segment::Move([c[0], c[1]]),
            1 => Segment::Line([c[0], c[1]]),
            2 => Segment::Quadratic([[c[0], c[1]], [c[2], c[3]]]),
            3 => Segment::Cubic([[c[0], c[1]], [c[2], c[3]], [c[4], c[5]]]),
            _ => Segment::Close,
        };
        push_segment(&mut path, segment)?;
    }
    if path.is_empty() {
        return Err("its path is empty".to_owned());
    }
    Ok(Shape::Path(path))
}

/// Java's path keeps the last of several moves and the first of several closes, and begins with a move.
fn push_segment(path: &mut Vec<Segment>, segment: Segment) -> Read<()> {
    match (path.last_mut(), segment) {
        (None, Segment::Move(_)) => path.push(segment),
        (None, Segment::Close) | (Some(Segment::Close), Segment::Close) => {}
        (None, _) => return Err("its path does not begin with a move".to_owned()),
        (Some(last @ Segment::Move(_)), Segment::Move(_)) => *last = segment,
        (Some(_), _) => path.push(segment),
    }
    Ok(())
}

fn read_stroke_width(bytes: &Bytes, header: &Header, kind: RoiKind) -> Read<f32> {
    /// What ImageJ gives to an arrow without a width of its own.
    const ARROW_WIDTH: f32 = 2.0;
    let default = if kind == RoiKind::Arrow { ARROW_WIDTH } else { 0.0 };
    if header.version < since::STROKE_AND_SUBTYPE || kind == RoiKind::Point {
        return Ok(default);
    }
    let fine = header.header2.map_or(Ok(0.0), |header2| bytes.f32(header2 + layout::H2_FLOAT_STROKE_WIDTH))?;
    let coarse = bytes.short(layout::STROKE_WIDTH)? as f32;
    let width = if fine > 0.0 { fine } else { coarse };
    Ok(if width > 0.0 && width.is_finite() { width } else { default })
}

/// ARGB to red, green, blue, opacity; 0 means none.
fn read_color(bytes: &Bytes, at: usize) -> Read<Option<[u8; 4]>> {
    let [a, r, g, b] = bytes.take(at)?;
    Ok(if [a, r, g, b] == [0; 4] { None } else { Some([r, g, b, a]) })
}

/// A string of UTF-16; empty where there is none or where it leaves the file, as in ImageJ.
fn read_string(bytes: &Bytes, header2: usize, offset_at: usize, length_at: usize) -> Read<String> {
    let (offset, length) = (bytes.i32(header2 + offset_at)?, bytes.i32(header2 + length_at)?);
    let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) else { return Ok(String::new()) };
    if offset == 0 || length == 0 || bytes.must_hold(offset, length, 2).is_err() {
        return Ok(String::new());
    }
    Ok(String::from_utf16_lossy(&bytes.utf16(offset, length)?))
}
