//! Convolutions 3x3 with a quarter of the multiplications: Winograd's minimal filtering F(4 x 4, 3 x 3).
//!
//! ```text
//! U = G w Gᵀ for each pair of channels          36 numbers each
//! V = Bᵀ d B for the 6 x 6 patch of each tile   d: the tile and one pixel around it
//! M = V U for each of the 36 points             a matrix product over input channels
//! y = Aᵀ M A                                    4 x 4 outputs of each tile
//! ```
//!
//! Where U is small, each thread takes blocks of tiles through the last three lines, a block staying in the level-2 cache. Where it is
//! large, threads share the lines one after another, so that each U is read once for many tiles. All sums go in an order given by
//! the shape alone. A value that is not finite spoils the outputs of its whole tile. Transforms: [`transform`].

mod conv2d;
mod product;
mod tiles;
mod transform;
mod weight_grad;
mod weights;

pub(super) use conv2d::{Convolution, workspace};
pub(super) use weight_grad::{WeightGrad, workspace as weight_grad_workspace};
pub(super) use weights::Transform;

use crate::tape::Shape;
use transform::OUT;

/// Fewest tiles of an image from which transforming the weights costs less than it saves. Of an image and not of a batch: a picture
/// gives the same bits in any company. Unit tests try the smallest images.
const MIN_TILES: usize = if cfg!(test) { 1 } else { 16 };
/// Fewest channels on either side from which the transforms cost less than they save.
const MIN_CHANNELS: usize = 16;

/// Whether a convolution of `kernel` x `kernel` over `image` gains from it.
pub(super) fn pays(kernel: usize, image: Shape, channels_in: usize, channels_out: usize) -> bool {
    // Pixels that tiles compute beyond the edge count like those within.
    let computed = image.h().next_multiple_of(OUT) * image.w().next_multiple_of(OUT);
    let tiles = image.h().div_ceil(OUT) * image.w().div_ceil(OUT);
    kernel == 3 && tiles >= MIN_TILES && channels_in.min(channels_out) >= MIN_CHANNELS && computed <= 2 * image.h() * image.w()
}
