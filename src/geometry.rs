//! Points, boxes and masks; the pixel convention is stated here.
//!
//! A pixel (x, y) is the square from its top-left corner (x, y) to (x + 1, y + 1); its centre is (x + 0.5, y + 0.5). Outlines
//! of areas run along pixel corners. x grows to the right, y downwards, as in ImageJ.

/// A point in pixel-corner coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// A box of whole pixels: columns `left .. left + width`, rows `top .. top + height`. May lie outside its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    pub left: i32,
    pub top: i32,
    pub width: u32,
    pub height: u32,
}

/// A binary image: one byte a pixel, 0 outside and 1 inside, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Mask {
    /// An empty mask of `width` x `height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        Mask { width, height, pixels: vec![0; width * height] }
    }

    /// A mask from bytes, row by row; every byte that is not 0 counts as inside.
    ///
    /// # Panics
    /// If `pixels.len() != width * height`.
    pub fn from_pixels(width: usize, height: usize, mut pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), width * height, "a mask of {width} x {height} pixels");
        pixels.iter_mut().for_each(|p| *p = u8::from(*p != 0));
        Mask { width, height, pixels }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, row by row, each 0 or 1.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Whether pixel (x, y) is inside. Pixels beyond the border are not.
    pub fn get(&self, x: i64, y: i64) -> bool {
        let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
        inside && self.pixels[y as usize * self.width + x as usize] != 0
    }

    /// Sets pixel (x, y).
    ///
    /// # Panics
    /// If the pixel lies beyond the border.
    pub fn set(&mut self, x: usize, y: usize, inside: bool) {
        assert!(x < self.width && y < self.height, "pixel ({x}, {y}) of a {} x {} mask", self.width, self.height);
        self.pixels[y * self.width + x] = u8::from(inside);
    }

    /// Sets the pixels `from .. to` of row `y`, as far as they lie in the image.
    pub fn set_span(&mut self, y: i64, from: i64, to: i64) {
        if y < 0 || y as usize >= self.height {
            return;
        }
        let from = from.clamp(0, self.width as i64) as usize;
        let to = to.clamp(0, self.width as i64) as usize;
        if from < to {
            let row = y as usize * self.width;
            self.pixels[row + from..row + to].fill(1);
        }
    }

    /// The number of pixels inside.
    pub fn area(&self) -> usize {
        self.pixels.iter().map(|&p| usize::from(p)).sum()
    }

    /// Adds the pixels of a mask of the same size.
    pub fn union_with(&mut self, other: &Mask) {
        assert_eq!((self.width, self.height), (other.width, other.height), "masks of one size");
        for (a, b) in self.pixels.iter_mut().zip(&other.pixels) {
            *a |= b;
        }
    }

    /// The smallest box around the pixels inside; `None` for an empty mask.
    pub fn bounds(&self) -> Option<Rect> {
        let (mut left, mut top, mut right, mut bottom) = (usize::MAX, usize::MAX, 0, 0);
        for (y, row) in self.pixels.chunks_exact(self.width.max(1)).enumerate() {
            let Some(first) = row.iter().position(|&p| p != 0) else { continue };
            let last = row.iter().rposition(|&p| p != 0).unwrap_or(first);
            left = left.min(first);
            right = right.max(last + 1);
            top = top.min(y);
            bottom = y + 1;
        }
        (left < right).then(|| Rect {
            left: left as i32,
            top: top as i32,
            width: (right - left) as u32,
            height: (bottom - top) as u32,
        })
    }

    /// The part of the mask in `rect`; what lies beyond the border is outside.
    pub fn crop(&self, rect: Rect) -> Mask {
        let mut out = Mask::new(rect.width as usize, rect.height as usize);
        for y in 0..out.height {
            for x in 0..out.width {
                let inside = self.get(i64::from(rect.left) + x as i64, i64::from(rect.top) + y as i64);
                out.pixels[y * out.width + x] = u8::from(inside);
            }
        }
        out
    }
}
