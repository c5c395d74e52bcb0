//! Transposed convolution 2x2, stride 2: forward as four one-tap products that write every other pixel, the gradient of the data as
//! one product of four taps that reads every other pixel. Formulas: [`crate::ops::conv_transpose2d`].

use super::arena::{Operands, Prepared};
use super::gemm::{Gemm, MAX_ROWS, Packing, Pixels, Target, Tile, pack, packed_len};
use super::simd::Level;
use crate::plan::{Request, Scratch};
use crate::tape::Shape;

/// Packed weights of the four taps.
pub(super) fn forward_scratch(level: Level, request: &Request<'_>) -> Scratch {
    let w = request.inputs[0];
    let bytes = size_of::<f32>() * 4 * packed_len(level, w.0[2], w.c());
    match request.lasts {
        true => Scratch { workspace: 0, prepared: bytes },
        false => Scratch::workspace(bytes),
    }
}

/// Packed weights.
pub(super) fn data_grad_workspace(level: Level, inputs: &[Shape]) -> usize {
    4 * packed_len(level, 4 * inputs[0].c(), inputs[0].0[2])
}

pub(super) fn forward(level: Level, operands: &mut Operands) {
    let (w, x) = (operands.input_shape(0), operands.input_shape(1));
    let [_, _, ci, co] = w.0;
    let prepared = operands.prepared().unwrap_or_else(|| Prepared { numbers: operands.workspace(), is_ready: false });
    let Prepared { numbers: packed, is_ready } = prepared;
    if !is_ready {
        for (tap, packed) in packed.chunks_exact_mut(packed_len(level, ci, co)).take(4).enumerate() {
            pack(level, Packing::Forward, &operands.input(0)[tap * ci * co..][..ci * co], [1, ci, co], co, packed);
        }
    }
    let all = Target::new(operands.output(0), co);
    let targets: [Target; 4] = std::array::from_fn(|tap| all.offset((tap / 2 * 2 * x.w() + tap % 2) * co));
    let pixels = Upward { image: operands.input(1), channels: ci, width: x.w() };
    let bias = Some(operands.input(2));
    Gemm {
        level,
        pixels: &pixels,
        n_pixels: x.pixels(),
        depth: ci,
        channels_in: ci,
        packed,
        targets: &targets,
        bias,
        relu: false,
    }
    .run();
}

pub(super) fn data_grad(level: Level, operands: &mut Operands) {
    let dx = operands.output_shape(0);
    let [_, _, ci, co] = operands.input_shape(0).0;
    let packed = operands.workspace::<f32>();
    pack(level, Packing::Transposed(0), operands.input(0), [4, ci, co], ci, packed);
    let pixels = Downward { image: operands.input(1), channels: co, width: dx.w() };
    let targets = [Target::new(operands.output(0), ci)];
    let (n_pixels, depth) = (dx.pixels(), 4 * co);
    Gemm { level, pixels: &pixels, n_pixels, depth, channels_in: depth, packed, targets: &targets, bias: None, relu: false }
        .run();
}

/// The first of the four pixels of the large image that belong to pixel `p` of a small image of width `width`.
#[inline(always)]
fn large_pixel(p: usize, width: usize) -> usize {
    let (row, x) = (p / width, p % width);
    row * 4 * width + 2 * x
}

/// Reads the small image, writes the large one.
struct Upward<'a> {
    image: &'a [f32],
    channels: usize,
    width: usize,
}

impl Pixels for Upward<'_> {
    #[inline(always)]
    unsafe fn gather(&self, tile: &mut Tile, first: usize, count: usize, _rows: usize) {
        let read = &self.image[first * self.channels..][..count * self.channels];
        let x: [*const f32; MAX_ROWS] = std::array::from_fn(|m| read.as_ptr().wrapping_add(m.min(count - 1) * self.channels));
        tile.push(x, 0, self.channels);
    }

    #[inline(always)]
    fn target(&self, p: usize) -> usize {
        large_pixel(p, self.width)
    }
}

/// Reads the large image, writes the small one.
struct Downward<'a> {
    image: &'a [f32],
    channels: usize,
    /// Of the small image.
    width: usize,
}

impl Pixels for Downward<'_> {
    #[inline(always)]
    unsafe fn gather(&self, tile: &mut Tile, first: usize, count: usize, _rows: usize) {
        let at: [usize; MAX_ROWS] = std::array::from_fn(|m| large_pixel(first + m.min(count - 1), self.width));
        let last = at[count - 1] + 2 * self.width + 1;
        assert!((last + 1) * self.channels <= self.image.len(), "the last tap lies in the image");
        for tap in 0..4 {
            let offset = tap / 2 * 2 * self.width + tap % 2;
            let x = at.map(|q| self.image.as_ptr().wrapping_add((q + offset) * self.channels));
            tile.push(x, tap * self.channels, self.channels);
        }
    }

    #[inline(always)]
    fn target(&self, p: usize) -> usize {
        p
    }
}
