//! Shapes and element types.

use std::fmt;

/// The shape of a value: four extents, always. Images are [N, H, W, C]; convolution weights [R, S, Ci, Co] (height, width, input
/// and output channels); vectors over channels [1, 1, 1, C]; scalars [1, 1, 1, 1]. Contiguous, the last extent fastest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(pub [usize; 4]);

impl Shape {
    /// An image batch, [n, h, w, c].
    pub fn image(n: usize, h: usize, w: usize, c: usize) -> Self {
        Shape([n, h, w, c])
    }

    /// A vector over channels, [1, 1, 1, c].
    pub fn channels(c: usize) -> Self {
        Shape([1, 1, 1, c])
    }

    /// A scalar.
    pub fn scalar() -> Self {
        Shape([1; 4])
    }

    /// Batch.
    pub fn n(&self) -> usize {
        self.0[0]
    }

    /// Height.
    pub fn h(&self) -> usize {
        self.0[1]
    }

    /// Width.
    pub fn w(&self) -> usize {
        self.0[2]
    }

    /// Channels.
    pub fn c(&self) -> usize {
        self.0[3]
    }

    /// Pixels over the whole batch, N H W.
    pub fn pixels(&self) -> usize {
        self.0[0] * self.0[1] * self.0[2]
    }

    /// The number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// The number of elements, if their bytes as f32 can be counted at all.
    pub fn checked_len(&self) -> Option<usize> {
        let len = self.0.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
        len.checked_mul(size_of::<f32>()).map(|_| len)
    }

    /// The same image with other channels.
    pub fn with_channels(&self, c: usize) -> Self {
        Shape([self.0[0], self.0[1], self.0[2], c])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}, {}]", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// Element types in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    /// IEEE 754 binary16: 11 bits of significand, largest number 65504.
    F16,
    /// The upper half of an f32: 8 bits of significand, the range of f32.
    Bf16,
    U8,
}

impl DType {
    /// Whether it is a number of 16 bits, which images, and on CUDA weights, may be stored as.
    pub fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::Bf16)
    }

    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::U8 => 1,
        }
    }
}
