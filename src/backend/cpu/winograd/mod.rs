//! Convolutions 3x3 with a quarter of the multiplications: Winograd's minimal filtering F(4 x 4, 3 x 3).
//!
//! ```text
//! U = G w Gᵀ for each pair of channels          36 numbers each             [point][ci][co]
//! V = Bᵀ d B for the 6 x 6 patch of each tile   d: the tile and one around  [point][tile][ci]
//! M = V U for each of the 36 points             a matrix product            [point][tile][co]
//! y = Aᵀ M A                                    4 x 4 outputs of each tile
//! ```
//!
//! A block of tiles passes through all four lines while it stays in the level-2 cache, a block a thread, where U is small enough to
//! stay there too. Where it is not, threads share the lines one after another, so that the product reads each U once. Every output
//! is computed by one thread in an order given by the shape alone. Transforms: [`transform`].

mod conv2d;
mod product;
mod tiles;
mod transform;
mod weight_grad;

pub(super) use conv2d::{Convolution, workspace};
pub(super) use weight_grad::{WeightGrad, workspace as weight_grad_workspace};

use crate::tape::Shape;
use transform::OUT;

/// Fewest channels on either side from which the transforms cost less than they save.
const MIN_CHANNELS: usize = 16;

/// Whether a convolution of `kernel` x `kernel` over `image` gains from it.
pub(super) fn pays(kernel: usize, image: Shape, channels_in: usize, channels_out: usize) -> bool {
    // Pixels that tiles compute beyond the edge count like those within.
    let computed = image.h().next_multiple_of(OUT) * image.w().next_multiple_of(OUT);
    kernel == 3 && channels_in.min(channels_out) >= MIN_CHANNELS && computed <= 2 * image.h() * image.w()
}
