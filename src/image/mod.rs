//! Reading pictures, stacks and composites; the grid of a composite; letterboxing into the network's input.

mod directory;
pub mod grid;
pub mod letterbox;
pub mod read;
mod tiff_page;

/// A grey picture: intensities as stored (8 bit: 0 to 255, 16 bit: 0 to 65535; RGB by luminance), row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Gray {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<f32>,
}

impl Gray {
    /// A picture from its intensities, row by row.
    ///
    /// # Panics
    /// If `pixels.len() != width * height`.
    pub fn new(width: usize, height: usize, pixels: Vec<f32>) -> Self {
        assert_eq!(pixels.len(), width * height, "a picture of {width} x {height} pixels");
        Gray { width, height, pixels }
    }

    /// The picture where it lies.
    pub fn view(&self) -> GrayView<'_> {
        GrayView { width: self.width, height: self.height, pixels: &self.pixels }
    }
}

/// A grey picture that lies elsewhere, row by row.
#[derive(Clone, Copy, Debug)]
pub struct GrayView<'a> {
    pub width: usize,
    pub height: usize,
    pub pixels: &'a [f32],
}
