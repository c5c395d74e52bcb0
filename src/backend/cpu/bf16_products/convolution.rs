//! Convolutions and what is computed like them: the gradient of the data, transposed convolutions and their gradient.

use super::super::arena::Prepared;
use super::super::pool::{for_each, own_place};
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::cut::{Cut, Shared};
use super::panel::{Part, Views};
use super::product::{BLOCK, Left, Multiplier, Right, SIDE, Sums};
use super::target::{Tail, Target};
use super::weights::Weights;
use super::window::{Grid, MAX_DISTANCES, Window};
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;

/// Steps that are packed at once, at most: one, 2 KiB, is little work to be handed out by itself.
const MAX_STEPS: usize = 16;

/// One convolution: every target gets its share of the columns.
pub struct Convolution<'a> {
    pub level: Level,
    pub kernel: usize,
    pub views: Views<'a>,
    pub weights: Weights<'a>,
    pub targets: &'a [Target],
    /// Whether every target takes all columns of its own tap's weights, rather than the columns that follow the last target's.
    pub tap_each: bool,
    /// Of the channels of each target: sums are multiplied by `scale` and added to `bias`.
    pub scale: Option<&'a [f32]>,
    pub bias: Option<&'a [f32]>,
    /// Whether negative results become 0.
    pub relu: bool,
}

impl Convolution<'_> {
    /// Computes all targets; `packed` are all packed columns, where they last, and `workspace` what [`super::cut::scratch`] asks for.
    pub fn run(&self, packed: Option<Prepared<'_, bf16>>, workspace: &mut [bf16]) {
        let (channels, threads) = (self.targets.iter().map(|t| t.channels), rayon::current_num_threads());
        let cut = Cut::new(threads, self.kernel, self.views.features(), self.views.size(), channels);
        let [n_ready, own_len] = cut.room(packed.is_some());
        let (ready, own) = workspace.split_at_mut(n_ready);
        assert!(own.len() >= threads * own_len, "the workspace of a convolution");
        let mut lasting = None;
        let ready = match (cut.shared, packed) {
            (Shared::Bands, packed) => {
                let Prepared { numbers, is_ready } = packed.unwrap_or(Prepared { numbers: ready, is_ready: false });
                if !is_ready {
                    self.pack_all(cut, &mut numbers[..cut.packed_len()]);
                }
                numbers
            }
            (Shared::Columns, packed) => {
                self.lay_out_all(cut, ready);
                lasting = packed.map(|p| (p.numbers[..cut.packed_len()].as_mut_ptr(), p.is_ready));
                ready
            }
        };
        let work = Work { convolution: self, cut, ready, own: own.as_mut_ptr(), own_len, lasting };
        let (bands, groups) = (cut.height.div_ceil(cut.rows), cut.column_blocks.div_ceil(cut.group));
        match cut.shared {
            Shared::Bands => for_each(cut.images * bands * groups, |task| {
                // A group's bands one after another: its packed columns stay in the cache.
                let (group, band) = (task / (cut.images * bands), task % (cut.images * bands));
                let columns = group * cut.group..((group + 1) * cut.group).min(cut.column_blocks);
                let first_row = band % bands * cut.rows;
                dispatch(self.level, BandTask { work: &work, image: band / bands, first_row, columns });
            }),
            Shared::Columns => for_each(cut.column_blocks, |block| dispatch(self.level, ColumnTask { work: &work, block })),
        }
    }

    fn pack_all(&self, cut: Cut, packed: &mut [bf16]) {
        let steps = cut.window.steps();
        packed.par_chunks_mut(BLOCK).enumerate().with_max_len(MAX_STEPS).for_each(|(i, out)| {
            dispatch(self.level, PackStep { columns: self.columns(i / steps), window: cut.window, step: i % steps, out });
        });
    }

    fn lay_out_all(&self, cut: Cut, panels: &mut [bf16]) {
        let (grid, blocks) = (cut.grid(), cut.window.blocks());
        panels.par_chunks_mut(grid.panel_len(1)).enumerate().with_max_len(1).for_each(|(i, panel)| {
            let part = self.part(cut, i / blocks, 0, i % blocks..i % blocks + 1);
            dispatch(self.level, LayOut { part, grid, panel });
        });
    }

    /// Blocks of features of a band.
    #[inline(always)]
    fn part(&self, cut: Cut, image: usize, first_row: usize, blocks: Range<usize>) -> Part<'_> {
        let (window, rows) = (cut.window, cut.grid().image_rows());
        Part { views: self.views, window, reach: window.reach(), first_image: image, first_row, rows, blocks }
    }

    /// What a column block takes, and where its results go.
    fn columns(&self, mut block: usize) -> Columns<'_> {
        let mut first = 0;
        for (i, &target) in self.targets.iter().enumerate() {
            let n = target.channels.div_ceil(SIDE);
            if block < n {
                let (channel, size) = (block * SIDE, self.weights.ci * self.weights.co);
                let n = SIDE.min(target.channels - channel);
                let (weights, from) = match self.tap_each {
                    true => (Weights { data: &self.weights.data[i * size..(i + 1) * size], ..self.weights }, channel),
                    false => (self.weights, first + channel),
                };
                return Columns { weights, range: from..from + n, target, channel };
            }
            block -= n;
            first += target.channels;
        }
        unreachable!("block numbers are below the number of blocks")
    }
}

/// Up to 32 columns.
struct Columns<'a> {
    weights: Weights<'a>,
    range: Range<usize>,
    target: Target,
    /// Of the target.
    channel: usize,
}

/// A step of a column block.
struct PackStep<'a> {
    columns: Columns<'a>,
    window: Window,
    step: usize,
    out: &'a mut [bf16],
}

impl Kernel for PackStep<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Columns { weights, range, .. } = self.columns;
        // SAFETY: passed on.
        unsafe { weights.pack::<L>(self.window, self.step, range, self.out) };
    }
}

/// A block of features of an image.
struct LayOut<'a> {
    part: Part<'a>,
    grid: Grid,
    panel: &'a mut [bf16],
}

impl Kernel for LayOut<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        self.part.fill(self.grid, self.panel);
    }
}

struct Work<'a> {
    convolution: &'a Convolution<'a>,
    cut: Cut,
    /// All packed columns, or all panels.
    ready: &'a [bf16],
    /// A panel or a packed column block of each thread, where columns do not last.
    own: *mut bf16,
    own_len: usize,
    /// All packed columns, where tasks share them out and they last, and whether they are there.
    lasting: Option<(*mut bf16, bool)>,
}

// SAFETY: threads write to what is their own, and tasks to pixels, channels and packed columns of their own.
unsafe impl Sync for Work<'_> {}

/// A band of rows of an image, and some column blocks.
struct BandTask<'a> {
    work: &'a Work<'a>,
    image: usize,
    first_row: usize,
    columns: Range<usize>,
}

impl Kernel for BandTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Work { convolution, cut, ready, .. } = *self.work;
        let cut = Cut { rows: cut.rows.min(cut.height - self.first_row), ..cut };
        let grid = cut.grid();
        // SAFETY: here alone.
        let panel = unsafe { self.work.own() };
        convolution.part(cut, self.image, self.first_row, 0..cut.window.blocks()).fill(grid, panel);
        let multiplier = Multiplier::new(convolution.level);
        for block in self.columns {
            let band = Band { work: self.work, grid, image: self.image, first_row: self.first_row };
            let packed = &ready[block * cut.block_len()..][..cut.block_len()];
            // SAFETY: passed on.
            unsafe { band.multiply::<L>(&multiplier, panel, packed, &convolution.columns(block)) };
        }
    }
}

/// A column block, of all images.
struct ColumnTask<'a> {
    work: &'a Work<'a>,
    block: usize,
}

impl Kernel for ColumnTask<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Work { convolution, cut, ready, .. } = *self.work;
        // SAFETY: here alone.
        let (columns, (packed, is_ready)) = (convolution.columns(self.block), unsafe { self.work.packed(self.block) });
        let (blocks, distances) = (cut.window.blocks(), cut.window.distances());
        // In the order in which the weights lie.
        for distance in 0..if is_ready { 0 } else { distances } {
            for block in 0..blocks {
                let step = block * distances + distance;
                let out = &mut packed[step * BLOCK..][..BLOCK];
                // SAFETY: passed on.
                unsafe { columns.weights.pack::<L>(cut.window, step, columns.range.clone(), out) };
            }
        }
        let multiplier = Multiplier::new(convolution.level);
        for (image, panel) in ready.chunks_exact(cut.panel_len()).enumerate() {
            let band = Band { work: self.work, grid: cut.grid(), image, first_row: 0 };
            // SAFETY: passed on.
            unsafe { band.multiply::<L>(&multiplier, panel, packed, &columns) };
        }
    }
}

impl Work<'_> {
    /// What is this thread's own.
    ///
    /// # Safety
    /// A task asks for it once.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn own(&self) -> &mut [bf16] {
        // SAFETY: `run` has checked the room of all threads, and no task of a thread begins within another.
        unsafe { std::slice::from_raw_parts_mut(self.own.add(own_place() * self.own_len), self.own_len) }
    }

    /// Where column block `block` is packed, and whether it is.
    ///
    /// # Safety
    /// As [`Work::own`]; the block's task alone asks for it.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn packed(&self, block: usize) -> (&mut [bf16], bool) {
        let len = self.cut.block_len();
        match self.lasting {
            // SAFETY: `run` has checked the room of all blocks; no two tasks have the same.
            Some((all, is_ready)) => (unsafe { std::slice::from_raw_parts_mut(all.add(block * len), len) }, is_ready),
            // SAFETY: passed on.
            None => (unsafe { self.own() }, false),
        }
    }
}

/// Rows of an image.
struct Band<'a> {
    work: &'a Work<'a>,
    grid: Grid,
    image: usize,
    first_row: usize,
}

impl Band<'_> {
    /// Multiplies the band's panel by a packed column block.
    ///
    /// # Safety
    /// The CPU has the level of `L`, and this task alone owns the columns of the band's pixels.
    #[inline(always)]
    unsafe fn multiply<L: Lanes>(&self, multiplier: &Multiplier, panel: &[bf16], packed: &[bf16], columns: &Columns<'_>) {
        let Band { grid, .. } = *self;
        let Work { convolution, cut, .. } = *self.work;
        let mut distances = [0; MAX_DISTANCES];
        for (i, distance) in distances[..cut.window.distances()].iter_mut().enumerate() {
            *distance = grid.distance(i) * SIDE;
        }
        // What all distances of a block of features read is little, and stays in the level-1 cache: so they are the inner steps.
        let (distances, count, pitch) = (&distances[..cut.window.distances()], cut.window.blocks(), grid.plane() * SIDE);
        assert!(panel.len() >= grid.panel_len(count) && packed.len() == cut.block_len(), "both sides of a product");
        let tail = Tail::new(convolution.scale, convolution.bias, convolution.relu, columns.channel);
        // Two, so that the units multiply the next block while one is stored.
        let mut sums = [Sums([0.0; BLOCK]), Sums([0.0; BLOCK])];
        let blocks = (grid.rows * grid.pitch()).div_ceil(SIDE);
        for i in 0..=blocks {
            // SAFETY: the caller has the level; the panel's zeros behind the last position cover what is read past it.
            unsafe {
                if i < blocks {
                    let left = Left { start: panel.as_ptr().add(i * BLOCK), count, pitch, inner: distances };
                    multiplier.multiply::<L>(&left, Right { start: packed.as_ptr(), gap: 0 }, sums[i % 2].place(), false);
                }
                if i > 0 {
                    self.store::<L>((i - 1) * SIDE, &sums[(i - 1) % 2], &tail, columns);
                }
            }
        }
    }

    /// Stores those of 32 positions from `first` on that are pixels, row by row.
    #[inline(always)]
    unsafe fn store<L: Lanes>(&self, first: usize, sums: &Sums, tail: &Tail, columns: &Columns<'_>) {
        let Band { grid, image, first_row, .. } = *self;
        let mut m = 0;
        while m < SIDE {
            let (y, x) = ((first + m) / grid.pitch(), (first + m) % grid.pitch());
            if y >= grid.rows {
                return;
            }
            let n = grid.width.saturating_sub(x).min(SIDE - m);
            if n > 0 {
                let pixels = columns.target.pixels([image, first_row + y, x], n, columns.channel, columns.range.len());
                // SAFETY: the caller has the level, and this task alone owns the pixels' channels.
                unsafe { tail.store::<L>(&sums.0[m * SIDE..][..n * SIDE], pixels) };
            }
            m += grid.pitch() - x;
        }
    }
}
