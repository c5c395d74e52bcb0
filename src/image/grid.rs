//! The grid of a composite.

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
