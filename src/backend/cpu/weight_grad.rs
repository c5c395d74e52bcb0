//! Gradients of convolution weights: sums over all pixels of outer products x[p + tap] dy[p].
//!
//! ```text
//! dw[tap, ci, co] = sum over p of  x[p shifted by tap, ci] dy_tap[p, co]
//! ```
//!
//! Rows of the images are taken in chunks. Of a chunk, x and dy are packed into panels of a register tile's width, [block][pixel]
//! [tile_rows] and [tap set][block][pixel][tile_columns], so that the innermost loop reads both in order; then each tile of dw adds
//! the chunk's products. Chunks follow one another, and a tile belongs to one task: the order of every sum is fixed by the shape.
//! Sums over about 256 pixels stay in registers before they are added to dw, which also keeps rounding errors small.
//!
//! Where one side is a single channel: [`narrow`].

mod narrow;
mod pack;

use super::arena::Operands;
use super::gemm::{MAX_COLUMNS, store};
use super::pool::for_each;
use super::simd::{Kernel, Lanes, Level, dispatch};
use super::{Settings, winograd};
use crate::tape::Shape;
use narrow::Narrow;
use pack::{pack_dy, pack_x};

/// Pixels of a chunk, to whole rows.
const CHUNK_PIXELS: usize = 4096;
/// Pixels whose products are summed in registers, to whole rows: dy's panel of them fits the level-1 cache.
const STRIP_PIXELS: usize = 256;

/// What differs between the two kinds of convolution.
#[derive(Clone, Copy)]
struct Taps {
    /// Kernel rows and columns.
    kernel: usize,
    /// Whether taps shift x (a convolution), or choose one of four interleaved parts of dy (a transposed one).
    shift: bool,
}

/// The sizes of one gradient. `x` is the image over whose pixels p runs.
#[derive(Clone, Copy)]
struct Sizes {
    level: Level,
    taps: Taps,
    x: Shape,
    ci: usize,
    co: usize,
}

impl Sizes {
    /// Rows of all images together.
    fn rows(self) -> usize {
        self.x.n() * self.x.h()
    }

    fn chunk_rows(self) -> usize {
        (CHUNK_PIXELS / self.x.w()).clamp(1, self.rows())
    }

    /// Rows that a tap reaches above and below.
    fn halo(self) -> usize {
        if self.taps.shift { self.taps.kernel / 2 } else { 0 }
    }

    fn ci_blocks(self) -> usize {
        self.ci.div_ceil(self.level.tile_rows())
    }

    /// The channels of x of block `block`: blocks of nearly one size waste no arithmetic on a narrow last one.
    fn ci_range(self, block: usize) -> std::ops::Range<usize> {
        let n = self.ci_blocks();
        block * self.ci / n..(block + 1) * self.ci / n
    }

    fn co_blocks(self) -> usize {
        self.co.div_ceil(self.level.tile_columns())
    }

    /// Floats of one packed block of x.
    fn x_panel(self) -> usize {
        (self.chunk_rows() + 2 * self.halo()) * self.x.w() * self.level.tile_rows()
    }

    /// Floats of one packed block of dy.
    fn dy_panel(self) -> usize {
        self.chunk_rows() * self.x.w() * self.level.tile_columns()
    }

    fn dy_sets(self) -> usize {
        if self.taps.shift { 1 } else { self.taps.kernel * self.taps.kernel }
    }

    fn x_floats(self) -> usize {
        (self.ci_blocks() * self.x_panel()).next_multiple_of(16)
    }

    fn workspace(self) -> usize {
        4 * (self.x_floats() + self.dy_sets() * self.co_blocks() * self.dy_panel())
    }
}

fn conv2d_sizes(level: Level, kernel: usize, inputs: impl Iterator<Item = Shape>, dy: Shape) -> Sizes {
    Sizes { level, taps: Taps { kernel, shift: true }, x: dy, ci: inputs.map(|i| i.c()).sum(), co: dy.c() }
}

fn conv_transpose2d_sizes(level: Level, dy: Shape, x: Shape) -> Sizes {
    Sizes { level, taps: Taps { kernel: 2, shift: false }, x, ci: x.c(), co: dy.c() }
}

pub(super) fn conv2d_workspace(settings: Settings, kernel: usize, inputs: &[Shape]) -> usize {
    let Settings { level, threads, .. } = settings;
    if let Some(narrow) = narrow(level, kernel, &inputs[1..], inputs[0]) {
        return narrow.workspace();
    }
    let sizes = conv2d_sizes(level, kernel, inputs[1..].iter().copied(), inputs[0]);
    match settings.winograd && winograd::pays(kernel, sizes.x, sizes.ci, sizes.co) {
        true => winograd::weight_grad_workspace(level, threads, sizes.x, sizes.ci, sizes.co),
        false => sizes.workspace(),
    }
}

/// Whether one side is a single channel, of a single image.
fn narrow(level: Level, kernel: usize, images: &[Shape], dy: Shape) -> Option<Narrow> {
    match images {
        [x] => Narrow::new(level, kernel, *x, dy.c()),
        _ => None,
    }
}

pub(super) fn conv_transpose2d_workspace(level: Level, inputs: &[Shape]) -> usize {
    conv_transpose2d_sizes(level, inputs[0], inputs[1]).workspace()
}

/// `conv2d_weight_grad`.
pub(super) fn conv2d(settings: Settings, kernel: usize, operands: &mut Operands) {
    let level = settings.level;
    let images = operands.n_inputs() - 1;
    let shapes = [operands.input_shape(1), operands.input_shape(images)];
    if let Some(narrow) = narrow(level, kernel, &shapes[..images], operands.input_shape(0)) {
        let (x, dy) = (operands.input(1), operands.input(0));
        let (wide, narrow_image) = if narrow.is_reversed { (x, dy) } else { (dy, x) };
        return narrow.run(wide, narrow_image, operands.workspace(), operands.output(0));
    }
    let sizes = conv2d_sizes(level, kernel, (0..images).map(|i| operands.input_shape(1 + i)), operands.input_shape(0));
    let second = if images == 2 { operands.input(2) } else { &[] };
    let c0 = operands.input_shape(1).c();
    let (images, channels, dy) = ([operands.input(1), second], [c0, sizes.ci - c0], operands.input(0));
    if settings.winograd && winograd::pays(kernel, sizes.x, sizes.ci, sizes.co) {
        let gradient = winograd::WeightGrad { level, image: sizes.x, images, channels, dy, channels_out: sizes.co };
        return gradient.run(operands.workspace(), operands.output(0));
    }
    run(sizes, images, channels, dy, operands);
}

/// `conv_transpose2d_weight_grad`.
pub(super) fn conv_transpose2d(level: Level, operands: &mut Operands) {
    let sizes = conv_transpose2d_sizes(level, operands.input_shape(0), operands.input_shape(1));
    run(sizes, [operands.input(1), &[]], [sizes.ci, 0], operands.input(0), operands);
}

fn run(sizes: Sizes, images: [&[f32]; 2], channels: [usize; 2], dy: &[f32], operands: &mut Operands) {
    let dw = operands.output(0);
    dw.fill(0.0);
    let (x_panels, dy_panels) = operands.workspace::<f32>().split_at_mut(sizes.x_floats());
    let dw = Shared(dw.as_mut_ptr());
    for first in (0..sizes.rows()).step_by(sizes.chunk_rows()) {
        let rows = first..(first + sizes.chunk_rows()).min(sizes.rows());
        let x_rows = rows.start.saturating_sub(sizes.halo())..(rows.end + sizes.halo()).min(sizes.rows());
        pack_x(sizes, images, channels, x_rows.clone(), x_panels);
        pack_dy(sizes, dy, rows.clone(), dy_panels);
        let chunk = Chunk { sizes, x_panels, dy_panels, rows, x_rows, dw };
        // A task owns one block of ci, one of co and one row of taps.
        let n_tasks = sizes.ci_blocks() * sizes.co_blocks() * sizes.taps.kernel;
        for_each(n_tasks, |task| dispatch(sizes.level, Tiles { chunk: &chunk, task }));
    }
}

/// A pointer that tasks write through at places of their own.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: each use says which places a task owns.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// # Safety
    /// The place must be in bounds.
    #[inline(always)]
    unsafe fn at(self, index: usize) -> *mut f32 {
        // SAFETY: passed on.
        unsafe { self.0.add(index) }
    }
}

/// The packed rows of a chunk.
struct Chunk<'a> {
    sizes: Sizes,
    x_panels: &'a [f32],
    dy_panels: &'a [f32],
    rows: std::ops::Range<usize>,
    /// Rows of x that were packed: with the halo.
    x_rows: std::ops::Range<usize>,
    dw: Shared,
}

/// The tiles of one task, all kernel columns of one kernel row.
struct Tiles<'a> {
    chunk: &'a Chunk<'a>,
    task: usize,
}

impl Kernel for Tiles<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Tiles { chunk, task } = self;
        let sizes = chunk.sizes;
        let (r, task) = (task % sizes.taps.kernel, task / sizes.taps.kernel);
        let (ci_block, co_block) = (task % sizes.ci_blocks(), task / sizes.ci_blocks());
        let tile = DwTile { chunk, r, ci_block, co_block };
        // SAFETY: the caller has the level.
        unsafe {
            match sizes.ci_range(ci_block).len() {
                1 => tile.strips::<L, 1>(),
                2 => tile.strips::<L, 2>(),
                3 => tile.strips::<L, 3>(),
                4 => tile.strips::<L, 4>(),
                5 => tile.strips::<L, 5>(),
                6 => tile.strips::<L, 6>(),
                7 => tile.strips::<L, 7>(),
                8 => tile.strips::<L, 8>(),
                9 => tile.strips::<L, 9>(),
                10 => tile.strips::<L, 10>(),
                11 => tile.strips::<L, 11>(),
                _ => tile.strips::<L, 12>(),
            }
        }
    }
}

struct DwTile<'a> {
    chunk: &'a Chunk<'a>,
    r: usize,
    ci_block: usize,
    co_block: usize,
}

impl DwTile<'_> {
    /// Strips of rows outside, kernel columns inside: a strip of dy is then read from the level-1 cache.
    #[inline(always)]
    unsafe fn strips<L: Lanes, const M: usize>(&self) {
        if M > L::TILE_ROWS {
            return;
        }
        let sizes = self.chunk.sizes;
        let strip = (STRIP_PIXELS / sizes.x.w()).max(1);
        for first in self.chunk.rows.clone().step_by(strip) {
            let rows = first..(first + strip).min(self.chunk.rows.end);
            for s in 0..sizes.taps.kernel {
                // SAFETY: the caller has the level.
                unsafe {
                    let sums = self.products::<L, M>(rows.clone(), s);
                    self.add_to_dw(&sums, s);
                }
            }
        }
    }

    /// The products of some rows under tap (r, s), summed in registers.
    #[inline(always)]
    unsafe fn products<L: Lanes, const M: usize>(&self, rows: std::ops::Range<usize>, s: usize) -> [[L; 2]; M] {
        let chunk = self.chunk;
        let sizes = chunk.sizes;
        let (w, h) = (sizes.x.w(), sizes.x.h());
        let (x_width, dy_width) = (L::TILE_ROWS, 2 * L::N);
        let pad = sizes.halo();
        let (dr, ds, set) = if sizes.taps.shift { (self.r, s, 0) } else { (0, 0, self.r * sizes.taps.kernel + s) };
        // Columns of dy whose neighbour lies inside the image.
        let (from, to) = (pad.saturating_sub(ds), (w + pad - ds).min(w));
        let x = &chunk.x_panels[self.ci_block * sizes.x_panel()..][..sizes.x_panel()];
        let dy = &chunk.dy_panels[(set * sizes.co_blocks() + self.co_block) * sizes.dy_panel()..][..sizes.dy_panel()];
        // SAFETY: the caller has the level; the slices taken below prove the bounds.
        unsafe {
            let mut sums = [[L::splat(0.0); 2]; M];
            for row in rows {
                let y = row % h;
                if y + dr < pad || y + dr >= h + pad || from >= to {
                    continue;
                }
                let x_at = ((row + dr - pad - chunk.x_rows.start) * w + from + ds - pad) * x_width;
                let dy_at = ((row - chunk.rows.start) * w + from) * dy_width;
                let x = &x[x_at..x_at + (to - from) * x_width];
                let dy = &dy[dy_at..dy_at + (to - from) * dy_width];
                accumulate::<L, M>(&mut sums, x.as_ptr(), dy.as_ptr(), to - from);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn add_to_dw<L: Lanes, const M: usize>(&self, sums: &[[L; 2]; M], s: usize) {
        let sizes = self.chunk.sizes;
        let channel = self.co_block * 2 * L::N;
        let valid = (2 * L::N).min(sizes.co - channel);
        let tap = self.r * sizes.taps.kernel + s;
        let first = tap * sizes.ci + sizes.ci_range(self.ci_block).start;
        for (m, row) in sums.iter().enumerate() {
            // SAFETY: row and channels lie inside dw [taps, ci, co], and this task owns them; the caller has the level.
            unsafe {
                let at = self.chunk.dw.at((first + m) * sizes.co + channel);
                let mut old = [0.0f32; MAX_COLUMNS];
                let from = if valid == 2 * L::N {
                    at.cast_const()
                } else {
                    std::ptr::copy_nonoverlapping(at, old.as_mut_ptr(), valid);
                    old.as_ptr()
                };
                let sum = [row[0].add(L::load(from)), row[1].add(L::load(from.add(L::N)))];
                store(&sum, at, valid);
            }
        }
    }
}

/// The micro-kernel: adds `n` outer products of M channels of x and two vectors of dy.
#[inline(always)]
unsafe fn accumulate<L: Lanes, const M: usize>(sums: &mut [[L; 2]; M], mut x: *const f32, mut dy: *const f32, n: usize) {
    // SAFETY: the caller has the level, n x TILE_ROWS floats of x and n x 2 N of dy.
    unsafe {
        let mut local = *sums;
        for _ in 0..n {
            let (dy0, dy1) = (L::load(dy), L::load(dy.add(L::N)));
            for (m, sum) in local.iter_mut().enumerate() {
                let value = L::splat(*x.add(m));
                *sum = [value.mul_add(dy0, sum[0]), value.mul_add(dy1, sum[1])];
            }
            x = x.add(L::TILE_ROWS);
            dy = dy.add(2 * L::N);
        }
        *sums = local;
    }
}
