//! The product of transformed patches and transformed weights, and its way back: convolution and the gradient of its data.

use super::super::gemm::{self, Target};
use super::super::pool::{for_each, own_place};
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::product::{GROUP, product};
use super::tiles::{Tiles, Transformed, floats, point_step, transform_patches};
use super::transform::{self, IN, OUT, Output, POINTS, both_ways};
use super::weights::Transform;
use crate::tape::Shape;
use std::ops::Range;

/// Bytes of transformed weights up to which every thread reads all of them for each block of tiles.
const RESIDENT_WEIGHTS: usize = 3 << 20;
/// Bytes of transformed patches and products of a block of tiles.
const BLOCK_BYTES: usize = 1 << 19;
/// Bytes of transformed patches and products of a chunk that threads share; few in tests, which then see several chunks.
const CHUNK_BYTES: usize = if cfg!(test) { 1 << 20 } else { 12 << 20 };
/// Blocks that even a small image is cut into.
const MIN_BLOCKS: usize = 16;
/// Tiles that a task transforms where threads share the lines.
const SHARED_TILES: usize = 16;

/// One convolution.
pub(in super::super) struct Convolution<'a> {
    pub level: Level,
    pub image: Shape,
    pub images: [&'a [f32]; 2],
    /// 0 for an image that is not there.
    pub channels: [usize; 2],
    /// As many as input channels.
    pub zeros: &'a [f32],
    /// As [`Transform`] leaves them.
    pub weights: &'a [f32],
    pub targets: &'a [Target],
    pub bias: Option<&'a [f32]>,
    /// Whether negative results become 0.
    pub relu: bool,
}

/// How a convolution is cut.
#[derive(Clone, Copy)]
struct Cut {
    depth: usize,
    columns: usize,
    column_blocks: usize,
    /// Tiles of a block or of a chunk.
    tiles: usize,
    /// Whether each thread takes blocks through all lines by itself.
    apart: bool,
}

impl Cut {
    fn new(level: Level, image: Shape, depth: usize, channels_out: [usize; 2]) -> Cut {
        let columns = level.tile_columns();
        let column_blocks: usize = channels_out.iter().map(|c| c.div_ceil(columns)).sum();
        let apart = POINTS * depth * columns * column_blocks * size_of::<f32>() <= RESIDENT_WEIGHTS;
        // Products of one column block at a time where threads go apart.
        let products = if apart { columns } else { columns * column_blocks };
        let budget = if apart { BLOCK_BYTES } else { CHUNK_BYTES };
        let rows = level.tile_rows();
        let tiles = budget / (POINTS * size_of::<f32>() * (depth + products)) / rows * rows;
        let total = Tiles::new(image).len();
        let most = if apart { total.div_ceil(MIN_BLOCKS) } else { total };
        let tiles = tiles.max(2 * rows).min(most.next_multiple_of(rows));
        Cut { depth, columns, column_blocks, tiles, apart }
    }

    fn patches(self) -> usize {
        floats(self.tiles, self.depth, GROUP)
    }

    /// Floats of the products of one column block.
    fn products(self) -> usize {
        floats(self.tiles, self.columns, self.columns)
    }

    /// Floats of patches and products, of each thread or of all together.
    fn scratch(self) -> usize {
        self.patches() + self.products() * if self.apart { 1 } else { self.column_blocks }
    }
}

/// Floats of a convolution's workspace, besides zeros and weights.
pub(in super::super) fn workspace(level: Level, threads: usize, image: Shape, depth: usize, channels_out: [usize; 2]) -> usize {
    let cut = Cut::new(level, image, depth, channels_out);
    cut.scratch() * if cut.apart { threads } else { 1 }
}

impl Convolution<'_> {
    /// Computes all targets; `workspace` has the floats that [`workspace`] asks for.
    pub fn run(&self, workspace: &mut [f32]) {
        let mut channels_out = [0; 2];
        self.targets.iter().zip(&mut channels_out).for_each(|(t, c)| *c = t.channels);
        let depth = self.channels[0] + self.channels[1];
        let cut = Cut::new(self.level, self.image, depth, channels_out);
        let copies = if cut.apart { rayon::current_num_threads() } else { 1 };
        let transform = Transform { level: self.level, depth, column_blocks: cut.column_blocks };
        assert!(workspace.len() >= copies * cut.scratch(), "the workspace of a convolution");
        assert!(self.zeros.len() >= depth, "zeros for all channels");
        assert!(self.weights.len() >= transform.len(), "weights of all blocks");
        for (data, channels) in self.images.iter().zip(self.channels) {
            assert_eq!(data.len(), self.image.pixels() * channels, "an image of {channels} channels");
        }
        let (tiles, weight_step) = (Tiles::new(self.image), transform.step());
        let work = Work { convolution: self, cut, tiles, weight_step, scratch: workspace.as_mut_ptr() };
        if cut.apart { work.apart() } else { work.together() }
    }
}

#[derive(Clone, Copy)]
struct Work<'a> {
    convolution: &'a Convolution<'a>,
    cut: Cut,
    tiles: Tiles,
    /// Floats from a point of U to the next.
    weight_step: usize,
    /// Patches and products: of each thread, or of all.
    scratch: *mut f32,
}

// SAFETY: targets and scratch are written at distinct places by distinct tasks, and read after a join.
unsafe impl Sync for Work<'_> {}

impl Work<'_> {
    /// Each thread takes blocks of tiles through all lines.
    fn apart(&self) {
        let total = self.tiles.len();
        for_each(total.div_ceil(self.cut.tiles), |block| {
            let tiles = block * self.cut.tiles..((block + 1) * self.cut.tiles).min(total);
            let scratch = self.scratch.wrapping_add(own_place() * self.cut.scratch());
            dispatch(self.convolution.level, BlockTask { work: *self, tiles, scratch });
        });
    }

    /// All threads work on one line at a time.
    fn together(&self) {
        let (level, total) = (self.convolution.level, self.tiles.len());
        for first in (0..total).step_by(self.cut.tiles) {
            let chunk = first..(first + self.cut.tiles).min(total);
            let groups = chunk.len().div_ceil(SHARED_TILES);
            let group = |i: usize| {
                let first = chunk.start + i * SHARED_TILES;
                (i * SHARED_TILES, first..(first + SHARED_TILES).min(chunk.end))
            };
            for_each(groups, |i| {
                let (place, tiles) = group(i);
                dispatch(level, PatchTask { work: *self, tiles, place });
            });
            for_each(self.cut.column_blocks * POINTS, |task| {
                // Point by point: its patches stay in a level-2 cache while the weights of all blocks pass.
                let (point, block) = (task / self.cut.column_blocks, task % self.cut.column_blocks);
                dispatch(level, ProductTask { work: *self, point, block, n_tiles: chunk.len() });
            });
            for_each(groups * self.cut.column_blocks, |task| {
                let (place, tiles) = group(task / self.cut.column_blocks);
                let block = task % self.cut.column_blocks;
                dispatch(level, OutputTask { work: *self, tiles, place, block });
            });
        }
    }

    /// Where the products of a column block lie if threads share the lines.
    fn products(&self, block: usize) -> *mut f32 {
        self.scratch.wrapping_add(self.cut.patches() + block * self.cut.products())
    }

    /// The transformed patches of `tiles`, from tile `place` of `patches` on.
    #[inline(always)]
    unsafe fn patches<L: Lanes>(&self, tiles: Range<usize>, patches: *mut f32, place: usize) {
        let convolution = self.convolution;
        let out = Transformed::new(patches, self.cut.tiles, self.cut.depth, GROUP);
        let mut from = 0;
        for (data, channels) in convolution.images.iter().zip(convolution.channels) {
            // SAFETY: the lengths of images and zeros were checked by `run`; the rest is passed on.
            unsafe {
                transform_patches::<L>(self.tiles, tiles.clone(), (data, channels), convolution.zeros, out, (place, from));
            }
            from += channels;
        }
    }

    /// M = V U of one point and one column block, for tiles 0 .. `n_tiles`.
    #[inline(always)]
    unsafe fn product<L: Lanes, const M: usize>(
        &self,
        (block, point): (usize, usize),
        patches: *mut f32,
        products: *mut f32,
        n_tiles: usize,
    ) {
        let cut = self.cut;
        let weights = self.convolution.weights.as_ptr().wrapping_add((block * POINTS + point) * self.weight_step);
        let patches = Transformed::new(patches, cut.tiles, cut.depth, GROUP);
        let products = Transformed::new(products, cut.tiles, cut.columns, cut.columns);
        for first in (0..n_tiles).step_by(M) {
            let (v, m) = (patches.at(point, first, 0), products.at(point, first, 0));
            // SAFETY: passed on; room for tiles is a multiple of M, and what the rows behind the last tile hold is not used.
            unsafe { product::<L, M>(v, GROUP * cut.tiles, cut.depth, weights, m) };
        }
    }

    /// Aᵀ M A of `tiles` and one column block, from tile `place` of `products` on.
    #[inline(always)]
    unsafe fn outputs<L: Lanes>(&self, tiles: Range<usize>, place: usize, block: usize, products: *const f32) {
        let cut = self.cut;
        let (target, channel) = gemm::locate(self.convolution.targets, cut.columns, block);
        let valid = cut.columns.min(target.channels - channel);
        let bias = gemm::block_bias(self.convolution.bias, channel, cut.columns);
        let step = point_step(cut.tiles, cut.columns, cut.columns);
        for (i, index) in tiles.enumerate() {
            let tile = self.tiles.at(index);
            for vector in 0..valid.div_ceil(L::N) {
                let (at, n) = (vector * L::N, (valid - vector * L::N).min(L::N));
                // SAFETY: passed on; the pixels lie in the image, whose size is checked below, and this task alone owns them.
                unsafe {
                    let from = products.add((place + i) * cut.columns + at);
                    let y = both_ways::<Output, L, IN, OUT>(&transform::load(from, step));
                    let bias = L::load(bias.as_ptr().add(at));
                    for (dy, row) in y.iter().enumerate().take(tile.height) {
                        let pixel = self.tiles.pixel(tile.n, tile.y + dy, tile.x);
                        assert!((pixel + tile.width) * target.channels <= target.len, "output pixels outside their image");
                        let to = target.start.add(pixel * target.channels + channel + at);
                        for (dx, &value) in row.iter().enumerate().take(tile.width) {
                            let value = value.add(bias);
                            let value = if self.convolution.relu { value.relu() } else { value };
                            gemm::store_one(value, to.add(dx * target.channels), n);
                        }
                    }
                }
            }
        }
    }
}

/// All lines for a block of tiles.
struct BlockTask<'a> {
    work: Work<'a>,
    tiles: Range<usize>,
    scratch: *mut f32,
}

impl BlockTask<'_> {
    #[inline(always)]
    unsafe fn lines<L: Lanes, const M: usize>(self) {
        let (work, n_tiles) = (self.work, self.tiles.len());
        // SAFETY: passed on; the scratch is this thread's own.
        unsafe {
            work.patches::<L>(self.tiles.clone(), self.scratch, 0);
            let products = self.scratch.add(work.cut.patches());
            for block in 0..work.cut.column_blocks {
                for point in 0..POINTS {
                    work.product::<L, M>((block, point), self.scratch, products, n_tiles);
                }
                work.outputs::<L>(self.tiles.clone(), 0, block, products);
            }
        }
    }
}

impl Kernel for BlockTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on.
        unsafe {
            match L::TILE_ROWS {
                12 => self.lines::<L, 12>(),
                6 => self.lines::<L, 6>(),
                _ => self.lines::<L, 4>(),
            }
        }
    }
}

/// V of some tiles of a chunk.
struct PatchTask<'a> {
    work: Work<'a>,
    tiles: Range<usize>,
    place: usize,
}

impl Kernel for PatchTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on; this task alone writes its tiles.
        unsafe { self.work.patches::<L>(self.tiles, self.work.scratch, self.place) }
    }
}

/// M of one point and one column block, for all tiles of a chunk.
struct ProductTask<'a> {
    work: Work<'a>,
    point: usize,
    block: usize,
    n_tiles: usize,
}

impl ProductTask<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, const M: usize>(self) {
        let ProductTask { work, point, block, n_tiles } = self;
        // SAFETY: passed on; this task alone writes the products of its point and block.
        unsafe { work.product::<L, M>((block, point), work.scratch, work.products(block), n_tiles) }
    }
}

impl Kernel for ProductTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on.
        unsafe {
            match L::TILE_ROWS {
                12 => self.rows::<L, 12>(),
                6 => self.rows::<L, 6>(),
                _ => self.rows::<L, 4>(),
            }
        }
    }
}

/// The outputs of some tiles and one column block.
struct OutputTask<'a> {
    work: Work<'a>,
    tiles: Range<usize>,
    place: usize,
    block: usize,
}

impl Kernel for OutputTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let products = self.work.products(self.block);
        // SAFETY: passed on; this task alone writes the channels of its block in its tiles.
        unsafe { self.work.outputs::<L>(self.tiles, self.place, self.block, products) }
    }
}
