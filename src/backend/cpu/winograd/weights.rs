//! U = G w Gᵀ: the weights of a convolution or of the gradient of its data, transformed.

use super::super::pool::for_each;
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::tiles::point_step;
use super::transform::{self, IN, POINTS, TAPS, Weights, both_ways};
use std::ops::Range;

/// U of all column blocks: `[column block][point][depth][columns]`. The same for images of any size.
#[derive(Clone, Copy)]
pub(in super::super) struct Transform {
    pub level: Level,
    /// Input channels.
    pub depth: usize,
    pub column_blocks: usize,
}

impl Transform {
    /// How many floats they are.
    pub fn len(self) -> usize {
        self.column_blocks * POINTS * self.step()
    }

    /// From a point to the next; for the extra line see [`point_step`].
    pub fn step(self) -> usize {
        point_step(self.depth, self.level.tile_columns(), self.level.tile_columns())
    }

    /// From weights as [`super::super::gemm::pack`] leaves them, `depth` rows a tap.
    pub fn run(self, packed: &[f32], out: &mut [f32]) {
        let packed_block = TAPS * TAPS * self.depth * self.level.tile_columns();
        assert!(packed.len() >= self.column_blocks * packed_block && out.len() >= self.len(), "weights of all blocks");
        // A task is some rows of one column block.
        let rows = 32;
        let pieces = self.depth.div_ceil(rows);
        let out = Out(out.as_mut_ptr());
        for_each(self.column_blocks * pieces, |task| {
            let (block, first) = (task / pieces, task % pieces * rows);
            let depth = first..(first + rows).min(self.depth);
            let packed = &packed[block * packed_block..][..packed_block];
            dispatch(self.level, TransformTask { transform: self, packed, depth, out: out.block(block, self) });
        });
    }
}

/// Written at distinct places by distinct tasks.
struct Out(*mut f32);

// SAFETY: as said above.
unsafe impl Sync for Out {}

impl Out {
    fn block(&self, block: usize, transform: Transform) -> *mut f32 {
        self.0.wrapping_add(block * POINTS * transform.step())
    }
}

/// Rows `depth` of one column block of U.
struct TransformTask<'a> {
    transform: Transform,
    /// Of the column block.
    packed: &'a [f32],
    depth: Range<usize>,
    out: *mut f32,
}

impl Kernel for TransformTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (columns, step) = (2 * L::N, self.transform.step());
        for k in self.depth {
            for at in [k * columns, k * columns + L::N] {
                // SAFETY: the caller has the level; each of the nine taps has depth x columns floats, each of the points too, and this
                // task alone writes row k of its block.
                unsafe {
                    let g = transform::load(self.packed.as_ptr().add(at), self.transform.depth * columns);
                    transform::store(&both_ways::<Weights, L, TAPS, IN>(&g), self.out.add(at), step);
                }
            }
        }
    }
}
