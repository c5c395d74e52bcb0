//! Every operation of the engine in plain f64, written from the formulae to be read rather than fast. Depends on nothing in `src`.
//!
//! Arrays have four extents, the last one fastest: images [N, H, W, C], convolution weights [R, S, Ci, Co], vectors [1, 1, 1, C].

pub mod adam;
pub mod assign;
pub mod augment;
pub mod batch_norm;
pub mod cast;
pub mod concat;
pub mod conv2d;
pub mod conv_transpose2d;
pub mod dice_bce;
pub mod elementwise;
pub mod max_pool2d;

/// An array of four extents.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: [usize; 4],
    pub data: Vec<f64>,
}

impl Array {
    pub fn new(shape: [usize; 4], data: Vec<f64>) -> Self {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "shape {shape:?}");
        Array { shape, data }
    }

    pub fn zeros(shape: [usize; 4]) -> Self {
        Array { shape, data: vec![0.0; shape.iter().product()] }
    }

    pub fn vector(data: Vec<f64>) -> Self {
        Array { shape: [1, 1, 1, data.len()], data }
    }

    /// The array whose element at each index is `f(index)`.
    pub fn from_fn(shape: [usize; 4], mut f: impl FnMut([usize; 4]) -> f64) -> Self {
        let data = indices(shape).map(&mut f).collect();
        Array { shape, data }
    }

    pub fn at(&self, index: [usize; 4]) -> f64 {
        self.data[self.offset(index)]
    }

    pub fn at_mut(&mut self, index: [usize; 4]) -> &mut f64 {
        let offset = self.offset(index);
        &mut self.data[offset]
    }

    /// The element at `index`, or 0 outside of the image: rows and columns may be negative or too large.
    pub fn at_padded(&self, n: usize, y: isize, x: isize, c: usize) -> f64 {
        let [_, h, w, _] = self.shape;
        let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
        if inside { self.at([n, y as usize, x as usize, c]) } else { 0.0 }
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Array { shape: self.shape, data: self.data.iter().map(|&x| f(x)).collect() }
    }

    pub fn zip(&self, other: &Array, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape);
        Array { shape: self.shape, data: self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect() }
    }

    /// The sum of products of two arrays.
    pub fn dot(&self, other: &Array) -> f64 {
        self.zip(other, |a, b| a * b).data.iter().sum()
    }

    fn offset(&self, [n, y, x, c]: [usize; 4]) -> usize {
        let [n_max, h, w, c_max] = self.shape;
        assert!(n < n_max && y < h && x < w && c < c_max, "index [{n}, {y}, {x}, {c}] of shape {:?}", self.shape);
        ((n * h + y) * w + x) * c_max + c
    }
}

/// All indices of a shape, the last one fastest.
pub fn indices([n_max, h, w, c_max]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n_max).flat_map(move |n| (0..h).flat_map(move |y| (0..w).flat_map(move |x| (0..c_max).map(move |c| [n, y, x, c]))))
}
