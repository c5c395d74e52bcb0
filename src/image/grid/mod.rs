//! The grid of a composite: where its sub-images lie, found from the pixels, and the map composite <-> sub-image.
//!
//! Cells are equally large and `border` pixels apart, in whole pixels; what does not divide is left over at the right and bottom,
//! or (`floor(i W / n)`) spread between the cells. Fiji's *Make Montage* (1.53t) puts its border
//! between the cells and around them. Its *Montage to Stack* cuts at multiples of `floor(W / n)`, which is off by up to a
//! pixel per column when there are borders; the origins kept here are the true ones.

mod axis;
mod detect;
mod profile;
#[cfg(test)]
mod sector_tests;
#[cfg(test)]
mod tests;

pub use detect::{Detected, detect};

use super::Gray;
use crate::geometry::Rect;

/// How many pictures a composite usually has.
const USUAL_CELLS: usize = 35;

/// Rows and columns of sub-images in a composite picture, and where each lies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    pub rows: usize,
    pub columns: usize,
    /// Width and height of a cell without its border.
    pub cell: [usize; 2],
    /// Pixels between cells.
    pub border: usize,
    /// Top-left corner of each cell in the composite, row by row.
    pub origins: Vec<[usize; 2]>,
    /// Cells (from 0) that hold no picture.
    pub blank: Vec<usize>,
}

impl Grid {
    /// The grid of the given numbers of rows and columns in a picture of `size` (width, height), `border` pixels between the cells;
    /// whether the border also runs around the picture follows from what divides. `None` if a cell would have no pixel.
    pub fn regular(size: [usize; 2], rows: usize, columns: usize, border: usize) -> Option<Grid> {
        let x = axis::regular_axis(size[0], columns, border)?;
        let y = axis::regular_axis(size[1], rows, border)?;
        Some(Grid::from_axes(&x, &y))
    }

    fn from_axes(x: &axis::Axis, y: &axis::Axis) -> Grid {
        let (columns, rows) = (x.n, y.n);
        let origins = (0..rows).flat_map(|r| (0..columns).map(move |c| [x.origin(c), y.origin(r)])).collect();
        Grid { rows, columns, cell: [x.cell, y.cell], border: x.border.max(y.border), origins, blank: Vec::new() }
    }

    /// Finds the cells without a picture: those of one intensity, where all but 35 cells are such or where they end the composite, there
    /// not more than leave 35. So of exactly 35 cells none is blank, and a dark cell among pictures stays a sub-image.
    pub fn find_blanks(&mut self, picture: &Gray) {
        let (low, high) = extremes(picture.pixels.iter().copied());
        // Two levels of 255: JPEG does not keep a constant exactly.
        let tolerance = (high - low) * 2.0 / 255.0;
        let n_cells = self.origins.len();
        if n_cells == USUAL_CELLS {
            self.blank = Vec::new();
            return;
        }
        let is_constant = |i: &usize| {
            let (low, high) = extremes(self.cut_inner(picture, *i).into_iter());
            high - low <= tolerance
        };
        let constant: Vec<usize> = (0..n_cells).filter(is_constant).collect();
        if n_cells - constant.len() == USUAL_CELLS {
            self.blank = constant;
            return;
        }
        let n_last = constant.iter().rev().zip((0..n_cells).rev()).take_while(|(a, b)| *a == b).count();
        let n_last = if n_cells > USUAL_CELLS && n_last < n_cells { n_last.min(n_cells - USUAL_CELLS) } else { n_last };
        // A composite without any picture is a dark one, not an empty list.
        self.blank = if n_last == n_cells { Vec::new() } else { (n_cells - n_last..n_cells).collect() };
    }

    /// The intensities of a cell without its edge of 8 pixels (a JPEG block), into which JPEG spreads the border.
    fn cut_inner(&self, picture: &Gray, index: usize) -> Vec<f32> {
        let cell = self.cut(picture, index);
        let edge = 8.min(cell.width / 4).min(cell.height / 4);
        let rows = cell.pixels.chunks_exact(cell.width).take(cell.height - edge).skip(edge);
        rows.flat_map(|row| &row[edge..cell.width - edge]).copied().collect()
    }

    /// The cells (from 0) that hold a picture, in order.
    pub fn cells(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.origins.len()).filter(|i| !self.blank.contains(i))
    }

    /// The box of cell `index` (from 0) in the composite.
    pub fn cell_rect(&self, index: usize) -> Rect {
        let [left, top] = self.origins[index];
        Rect { left: left as i32, top: top as i32, width: self.cell[0] as u32, height: self.cell[1] as u32 }
    }

    /// The cell (from 0) that holds the point (x, y) of the composite, or `None` on a border, on what is left over, or outside.
    pub fn cell_at(&self, x: f64, y: f64) -> Option<usize> {
        self.origins.iter().position(|&[left, top]| {
            let (dx, dy) = (x - left as f64, y - top as f64);
            dx >= 0.0 && dy >= 0.0 && dx < self.cell[0] as f64 && dy < self.cell[1] as f64
        })
    }

    /// A point of the composite in the coordinates of cell `index`; the inverse of [`Grid::to_composite`].
    pub fn to_cell(&self, index: usize, [x, y]: [f64; 2]) -> [f64; 2] {
        let [left, top] = self.origins[index];
        [x - left as f64, y - top as f64]
    }

    /// A point of cell `index` in the coordinates of the composite.
    pub fn to_composite(&self, index: usize, [x, y]: [f64; 2]) -> [f64; 2] {
        let [left, top] = self.origins[index];
        [x + left as f64, y + top as f64]
    }

    /// Cuts cell `index` out of the composite.
    ///
    /// # Panics
    /// If the grid belongs to a larger picture.
    pub fn cut(&self, picture: &Gray, index: usize) -> Gray {
        let [left, top] = self.origins[index];
        let [width, height] = self.cell;
        assert!(left + width <= picture.width && top + height <= picture.height, "a cell inside its composite");
        let rows = (top..top + height).map(|y| y * picture.width + left);
        let pixels = rows.flat_map(|start| &picture.pixels[start..start + width]).copied().collect();
        Gray::new(width, height, pixels)
    }
}

/// The smallest and the largest of some intensities; (0, 0) of none.
fn extremes(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low <= high { (low, high) } else { (0.0, 0.0) }
}
