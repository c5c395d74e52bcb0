//! The byte table of a `.roi` file: one list of offsets for the decoder and the encoder, after the header comment of ImageJ's
//! `ij/io/RoiDecoder.java`. All numbers are big-endian.
//!
//! | part | where | holds |
//! | --- | --- | --- |
//! | header | 0 to 63 | what is listed below without `H2_` |
//! | coordinates | from 64 | `n` x (2 bytes), `n` y (2 bytes), relative to left and top; with sub-pixels then `n` x and `n` y as f32, absolute |
//! | header 2 | at `HEADER2_OFFSET`, 64 bytes | what is listed below as `H2_`, relative to its start |
//! | strings | anywhere | name and properties in UTF-16; point counters as u32 |
//!
//! A composite has its path segments (f32 each) in place of coordinates, a text its font and characters, an image its TIFF.

pub(super) const MAGIC: &[u8; 4] = b"Iout";
/// What ImageJ 1.53t writes, and so do we.
pub(super) const VERSION_WRITTEN: u16 = 228;
pub(super) const HEADER_SIZE: usize = 64;
pub(super) const HEADER2_SIZE: usize = 64;

pub(super) const VERSION: usize = 4;
pub(super) const TYPE: usize = 6;
pub(super) const TOP: usize = 8;
pub(super) const LEFT: usize = 10;
pub(super) const BOTTOM: usize = 12;
pub(super) const RIGHT: usize = 14;
/// u16; 0 where `SIZE` holds a count beyond it.
pub(super) const N_COORDINATES: usize = 16;
/// i32, only when `N_COORDINATES` is 0; shares its bytes with `X1`.
pub(super) const SIZE: usize = 18;
/// Four f32: ends of a line, axis of an ellipse or a rotated rectangle; or x, y, width, height of a sub-pixel box.
pub(super) const X1: usize = 18;
/// u16; a point's marker size.
pub(super) const STROKE_WIDTH: usize = 34;
/// i32; greater than 0 makes the ROI a composite.
pub(super) const SHAPE_ROI_SIZE: usize = 36;
/// ARGB.
pub(super) const STROKE_COLOR: usize = 40;
/// ARGB.
pub(super) const FILL_COLOR: usize = 44;
pub(super) const SUBTYPE: usize = 48;
pub(super) const OPTIONS: usize = 50;
/// u8; also a point's marker type.
pub(super) const ARROW_STYLE: usize = 52;
/// f32: aspect ratio of an ellipse, width of a rotated rectangle; shares its bytes with the arrow's.
pub(super) const FLOAT_PARAM: usize = 52;
pub(super) const ARROW_HEAD_SIZE: usize = 53;
pub(super) const ROUNDED_RECT_ARC_SIZE: usize = 54;
pub(super) const POSITION: usize = 56;
pub(super) const HEADER2_OFFSET: usize = 60;
pub(super) const COORDINATES: usize = 64;

pub(super) const H2_C_POSITION: usize = 4;
pub(super) const H2_Z_POSITION: usize = 8;
pub(super) const H2_T_POSITION: usize = 12;
pub(super) const H2_NAME_OFFSET: usize = 16;
pub(super) const H2_NAME_LENGTH: usize = 20;
pub(super) const H2_GROUP: usize = 30;
pub(super) const H2_IMAGE_OPACITY: usize = 31;
pub(super) const H2_IMAGE_SIZE: usize = 32;
pub(super) const H2_FLOAT_STROKE_WIDTH: usize = 36;
pub(super) const H2_ROI_PROPS_OFFSET: usize = 40;
pub(super) const H2_ROI_PROPS_LENGTH: usize = 44;
pub(super) const H2_COUNTERS_OFFSET: usize = 48;

/// Values of the byte at `TYPE`.
pub(super) mod types {
    pub const POLYGON: u8 = 0;
    pub const RECT: u8 = 1;
    pub const OVAL: u8 = 2;
    pub const LINE: u8 = 3;
    pub const FREELINE: u8 = 4;
    pub const POLYLINE: u8 = 5;
    pub const FREEHAND: u8 = 7;
    pub const TRACED: u8 = 8;
    pub const ANGLE: u8 = 9;
    pub const POINT: u8 = 10;
}

/// Values of the number at `SUBTYPE`.
pub(super) mod subtypes {
    pub const TEXT: u16 = 1;
    pub const ARROW: u16 = 2;
    pub const ELLIPSE: u16 = 3;
    pub const IMAGE: u16 = 4;
    pub const ROTATED_RECT: u16 = 5;
}

/// Bits of the number at `OPTIONS`.
pub(super) mod options {
    pub const SPLINE_FIT: u16 = 1;
    pub const DOUBLE_HEADED: u16 = 2;
    pub const OUTLINE: u16 = 4;
    pub const SUB_PIXEL_RESOLUTION: u16 = 128;
    pub const SHOW_LABELS: u16 = 1024;
    pub const SCALE_STROKE_WIDTH: u16 = 8192;
}

/// The version from which a field exists.
pub(super) mod since {
    pub const STROKE_AND_SUBTYPE: i32 = 218;
    pub const IMAGE: i32 = 221;
    pub const SUB_PIXEL: i32 = 222;
    pub const SUB_PIXEL_BOX: i32 = 223;
    pub const PROPERTIES: i32 = 224;
    pub const TEXT_ANGLE: i32 = 225;
    pub const POINT_MARKER: i32 = 226;
    pub const COUNTERS: i32 = 227;
    pub const GROUP: i32 = 228;
}

/// ImageJ reads a 16-bit number below this as unsigned, so that coordinates beyond 32767 survive.
pub(super) const LEAST_SIGNED_SHORT: i32 = -5000;
/// The largest number that survives being written as 16 bits, for the same reason.
pub(super) const LARGEST_SHORT: i32 = 65535 + LEAST_SIGNED_SHORT;
