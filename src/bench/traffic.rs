//! The bytes that the convolutions' own tiles move between the multiprocessors and the cache: what a block reads, times the blocks.
//!
//! Counted for whole tiles; at the borders of an image a little less moves. The numbers of the tiles are those of `kernels/implicit_gemm.cuh`
//! and `kernels/weight_grad.cuh`, or of their counterparts for warpgroups; `tests/ops/tiles.rs` holds the former against what the emulator counts.

use super::case::{Convolution, Kind, Pass};

/// Output channels of a block of the product over pixels.
const CHANNELS: usize = 64;

/// Which kernels do a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernels {
    /// Those of every architecture.
    Common,
    /// Hopper's.
    Warpgroups,
}

/// Bytes between cache and multiprocessors, of all launches of a convolution. `splits`: parts of the pixels of a gradient of weights, each a
/// sum of its own.
pub fn tile_bytes(c: &Convolution, kernels: Kernels, splits: usize) -> u64 {
    let bytes = match c.pass {
        Pass::WeightGrad => weight_grad(c, kernels, splits),
        Pass::Forward | Pass::DataGrad => product(c, kernels),
    };
    bytes as u64
}

/// Bytes of an element as it is stored.
fn element(c: &Convolution) -> usize {
    if c.half { 2 } else { 4 }
}

/// A tile of pixels is read once for every block of output channels, with a border for 3x3 and once a tap for 2x2; the weights once for
/// every tile.
fn product(c: &Convolution, kernels: Kernels) -> usize {
    let scatters = c.kind == Kind::ConvTranspose2d && c.pass == Pass::Forward;
    let [rows, columns] = if kernels == Kernels::Common { [8, 16] } else { [32, 16] };
    let tiles = c.n * c.height.div_ceil(rows) * c.width.div_ceil(columns);
    let (from, to) = if c.pass == Pass::Forward { (c.ci(), c.channels_out) } else { (c.channels_out, c.ci()) };
    let pixels = match c.kernel {
        3 => (rows + 2) * (columns + 2),
        2 => 4 * rows * columns,
        _ => rows * columns,
    };
    let read = tiles * (to.div_ceil(CHANNELS) * pixels * from + c.w().len());
    let written = c.n * c.height * c.width * to * if scatters { 4 } else { 1 };
    (read + written) * element(c)
}

/// A tile of x is read once for every block of output channels, one of dy once for every block of input channels; parts are written and
/// read again.
fn weight_grad(c: &Convolution, kernels: Kernels, splits: usize) -> usize {
    let ([block_x, block_dy], [rows, columns]) = match (kernels, c.half) {
        (Kernels::Warpgroups, _) => ([64, 64], [32, 8]),
        (Kernels::Common, true) => ([64, 32], [4, 16]),
        (Kernels::Common, false) => ([32, 32], [2, 16]),
    };
    let scatter = if c.kind == Kind::ConvTranspose2d { 4 } else { 1 };
    let tiles = c.n * c.height.div_ceil(rows) * c.width.div_ceil(columns);
    let x_pixels = if c.kernel == 3 { (rows + 2) * (columns + 2) } else { rows * columns };
    let blocks_x = c.channels_in.iter().map(|channels| channels.div_ceil(block_x)).sum::<usize>();
    let x = tiles * scatter * c.channels_out.div_ceil(block_dy) * x_pixels * c.ci();
    let dy = tiles * scatter * blocks_x * rows * columns * c.channels_out;
    let parts = if splits > 1 { 2 * splits + 1 } else { 1 };
    (x + dy) * element(c) + parts * c.w().len() * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convolution(kind: Kind, pass: Pass, kernel: usize) -> Convolution {
        Convolution { kind, pass, kernel, n: 2, height: 16, width: 32, channels_in: [64, 64], channels_out: 64, half: true }
    }

    /// 2 x 2 x 2 tiles. Each reads 10 x 18 pixels of 128 channels and 9 x 128 x 64 weights; 1,024 pixels of 64 channels are written.
    #[test]
    fn a_3x3_convolution_by_hand() {
        let c = convolution(Kind::Conv2d, Pass::Forward, 3);
        assert_eq!(tile_bytes(&c, Kernels::Common, 1), 2 * (8 * (180 * 128 + 9 * 128 * 64) + 1024 * 64));
        // With warpgroups 2 x 1 x 2 tiles of 34 x 18.
        assert_eq!(tile_bytes(&c, Kernels::Warpgroups, 1), 2 * (4 * (612 * 128 + 9 * 128 * 64) + 1024 * 64));
        // Its data's gradient has two blocks of 64 channels.
        let c = convolution(Kind::Conv2d, Pass::DataGrad, 3);
        assert_eq!(tile_bytes(&c, Kernels::Common, 1), 2 * (8 * (2 * 180 * 64 + 9 * 128 * 64) + 1024 * 128));
    }

    /// 2 x 4 x 2 tiles of 4 x 16 pixels; x with a border once for each of 2 blocks of 32 channels of dy, dy once for each of 2 blocks of x.
    #[test]
    fn a_gradient_of_weights_by_hand() {
        let c = convolution(Kind::Conv2d, Pass::WeightGrad, 3);
        let tiles = 16 * (2 * 108 * 128 + 2 * 64 * 64) * 2;
        assert_eq!(tile_bytes(&c, Kernels::Common, 1), tiles + 9 * 128 * 64 * 4);
        assert_eq!(tile_bytes(&c, Kernels::Common, 5), tiles + (5 + 5 + 1) * 9 * 128 * 64 * 4);
    }
}
