//! What a ROI file says about a shape, before anything is derived from it.

use crate::geometry::Rect;

/// The type of a ROI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoiKind {
    Polygon,
    Freehand,
    Traced,
    Rectangle,
    Oval,
    Line,
    Arrow,
    Polyline,
    Freeline,
    Angle,
    Point,
    Ellipse,
    RotatedRectangle,
    Text,
    Image,
    Composite,
}

impl RoiKind {
    /// The name under which ImageJ shows the type (`Roi.getTypeAsString` of 1.53t, which calls ellipses and rotated rectangles
    /// freehand).
    pub fn name(self) -> &'static str {
        match self {
            RoiKind::Polygon => "Polygon",
            RoiKind::Freehand | RoiKind::Ellipse | RoiKind::RotatedRectangle => "Freehand",
            RoiKind::Traced => "Traced",
            RoiKind::Rectangle => "Rectangle",
            RoiKind::Oval => "Oval",
            RoiKind::Line => "Straight Line",
            RoiKind::Arrow => "Arrow",
            RoiKind::Polyline => "Polyline",
            RoiKind::Freeline => "Freeline",
            RoiKind::Angle => "Angle",
            RoiKind::Point => "Point",
            RoiKind::Text => "Text",
            RoiKind::Image => "Image",
            RoiKind::Composite => "Composite",
        }
    }

    /// Whether ImageJ counts the type among those that enclose pixels.
    pub fn is_area(self) -> bool {
        !matches!(self, RoiKind::Line | RoiKind::Arrow | RoiKind::Polyline | RoiKind::Freeline | RoiKind::Angle | RoiKind::Point)
    }
}

/// The geometry as a file states it; the kind is kept beside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Rectangle { frame: Frame, corner_diameter: u16 },
    Oval(Frame),
    Outline { points: Points, spline: bool },
    Markers { points: Points, marker: Marker },
    Line { ends: [f32; 4], arrow: Option<ArrowHead>, header_box: Rect },
    Ellipse { axis: [f32; 4], aspect_ratio: f32 },
    RotatedRectangle { axis: [f32; 4], width: f32 },
    Text { frame: Frame, text: TextBlock },
    Image { frame: Frame, tiff: Vec<u8>, opacity: u8 },
    Path(Vec<Segment>),
}

/// A box in whole pixels, or with sub-pixel x, y, width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Frame {
    Whole(Rect),
    SubPixel([f32; 4]),
}

/// Absolute coordinates of an outline.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Points {
    Whole(Vec<[i32; 2]>),
    SubPixel(Vec<[f32; 2]>),
}

impl Points {
    pub(super) fn len(&self) -> usize {
        match self {
            Points::Whole(points) => points.len(),
            Points::SubPixel(points) => points.len(),
        }
    }
}

/// How points are drawn, and which counter each belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Marker {
    pub style: u8,
    pub size: u16,
    pub labels: bool,
    pub counters: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ArrowHead {
    pub style: u8,
    pub size: u8,
    pub double_headed: bool,
    pub outline: bool,
}

/// Font and characters of a text; `style` holds ImageJ's bits of style, justification and drawing mode.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TextBlock {
    pub size: i32,
    pub style: i32,
    pub font: Vec<u16>,
    pub text: Vec<u16>,
    pub angle: f32,
}

/// A segment of a composite's path, in absolute coordinates; the variants' numbers in a file are 0 to 4 in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Segment {
    Move([f32; 2]),
    Line([f32; 2]),
    Quadratic([[f32; 2]; 2]),
    Cubic([[f32; 2]; 3]),
    Close,
}
