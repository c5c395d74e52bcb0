//! Pictures with coloured outlines.

use crate::augment::prepare;
use crate::error::{Error, Result};
use crate::geometry::Mask;
use crate::image::Gray;
use std::io::Cursor;

/// Small pictures are enlarged to about this many pixels along their longer side, so that outlines do not cover what they surround.
const LONGER_SIDE: usize = 512;

/// Of 100: outlines one pixel wide stay clear.
const JPEG_QUALITY: u8 = 85;

/// Red, green, blue.
pub type Color = [u8; 3];

/// A picture in colours, row by row, three bytes a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: usize, height: usize, color: Color) -> Canvas {
        Canvas { width, height, pixels: color.repeat(width * height) }
    }

    /// Colours a pixel; one beyond the border is left out.
    pub fn set(&mut self, x: i64, y: i64, color: Color) {
        if x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height {
            let at = 3 * (y as usize * self.width + x as usize);
            self.pixels[at..at + 3].copy_from_slice(&color);
        }
    }

    /// The canvas as a JPEG file: speckle takes a tenth of the room that it takes as PNG.
    ///
    /// # Errors
    /// If it has no pixels.
    pub fn jpeg(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        let (width, height) = (self.width as u32, self.height as u32);
        image::ImageEncoder::write_image(encoder, &self.pixels, width, height, image::ExtendedColorType::Rgb8)
            .map_err(|e| Error::run(format!("cannot encode a JPEG of {width} x {height} pixels")).caused_by(e))?;
        Ok(bytes)
    }

    /// The canvas as a PNG file.
    ///
    /// # Errors
    /// If it has no pixels.
    pub fn png(&self) -> Result<Vec<u8>> {
        encode(&self.pixels, self.width, self.height, image::ExtendedColorType::Rgb8)
    }
}

/// A mask as a PNG file: 8-bit grey, 255 inside.
///
/// # Errors
/// If it has no pixels.
pub fn mask_png(mask: &Mask) -> Result<Vec<u8>> {
    let pixels: Vec<u8> = mask.pixels().iter().map(|p| p * 255).collect();
    encode(&pixels, mask.width(), mask.height(), image::ExtendedColorType::L8)
}

fn encode(pixels: &[u8], width: usize, height: usize, color: image::ExtendedColorType) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, pixels, width as u32, height as u32, color, image::ImageFormat::Png)
        .map_err(|e| Error::run(format!("cannot encode a PNG of {width} x {height} pixels")).caused_by(e))?;
    Ok(bytes.into_inner())
}

/// The picture, stretched from its 1st to its 99th percentile and enlarged by a whole factor if it is small, with the outlines of
/// `masks` in their colours. An outline runs along the inside of the mask's border, so its outer edge is where ImageJ draws the ROI.
pub fn overlay<'a>(picture: &Gray, masks: impl IntoIterator<Item = (&'a Mask, Color)>) -> Canvas {
    let factor = (LONGER_SIDE / picture.width.max(picture.height).max(1)).clamp(1, 4);
    let mut canvas = Canvas::new(picture.width * factor, picture.height * factor, [0; 3]);
    let stretched = prepare(picture).pixels;
    for (i, rgb) in canvas.pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = (i % (picture.width * factor) / factor, i / (picture.width * factor) / factor);
        rgb.fill((stretched[y * picture.width + x] * 255.0).round() as u8);
    }
    for (mask, color) in masks {
        outline(&mut canvas, mask, factor as i64, color);
    }
    canvas
}

/// Colours the pixels of the enlarged mask along its border: one pixel wide, two where the picture is enlarged.
fn outline(canvas: &mut Canvas, mask: &Mask, factor: i64, color: Color) {
    let Some(bounds) = mask.bounds() else { return };
    let inside = |x: i64, y: i64| mask.get(x.div_euclid(factor), y.div_euclid(factor));
    let (left, top) = (i64::from(bounds.left) * factor, i64::from(bounds.top) * factor);
    for y in top..top + i64::from(bounds.height) * factor {
        for x in left..left + i64::from(bounds.width) * factor {
            let outside = |d: i64| [(-d, 0), (d, 0), (0, -d), (0, d)].iter().any(|(dx, dy)| !inside(x + dx, y + dy));
            let at_border = || (1..=factor.min(2)).any(outside);
            if inside(x, y) && at_border() {
                canvas.set(x, y, color);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_lie_on_the_border_of_the_mask() {
        let picture = Gray::new(300, 200, vec![5.0; 60_000]);
        let mut mask = Mask::new(300, 200);
        (50..60).for_each(|y| mask.set_span(y, 20, 40));
        let canvas = overlay(&picture, [(&mask, [1, 2, 3])]);
        assert_eq!((canvas.width, canvas.height), (300, 200));
        let colored: Vec<usize> = (0..60_000).filter(|i| canvas.pixels[3 * i..3 * i + 3] == [1, 2, 3]).collect();
        assert_eq!(colored.len(), 2 * 20 + 2 * 8);
        assert!(colored.iter().all(|&i| mask.pixels()[i] != 0));
    }

    #[test]
    fn small_pictures_are_enlarged_and_decode() {
        let picture = Gray::new(100, 60, (0..6000).map(|i| (i % 100) as f32).collect());
        let png = overlay(&picture, []).png().unwrap();
        let decoded = image::load_from_memory(&png).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (400, 240));
    }
}
