//! Letterboxing: a sub-image of any size, scaled to fit the network's input, centred, the rest padding.
//!
//! A point (x, y) of the source (pixel-corner coordinates, see [`crate::geometry`]) lies at (scale x + left, scale y + top) of the
//! input. Padding is excluded from loss and metrics by a weight of 0.

/// The map between a sub-image and the network's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Width and height of the sub-image.
    pub source: [usize; 2],
    /// Width and height of the input.
    pub input: [usize; 2],
    /// Input pixels per source pixel.
    pub scale: f64,
    /// Columns of padding at the left, in input pixels.
    pub left: f64,
    /// Rows of padding at the top, in input pixels.
    pub top: f64,
}

impl Letterbox {
    /// The largest scale at which `source` fits into `input` (both width, height), centred.
    pub fn fit(source: [usize; 2], input: [usize; 2]) -> Self {
        let [sw, sh] = source.map(|s| s as f64);
        let [iw, ih] = input.map(|s| s as f64);
        let scale = (iw / sw).min(ih / sh);
        Letterbox { source, input, scale, left: (iw - scale * sw) / 2.0, top: (ih - scale * sh) / 2.0 }
    }
}
