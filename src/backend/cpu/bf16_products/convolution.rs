//! Convolutions and what is computed like them: the gradient of the data, transposed convolutions and their gradient.

use super::super::pool::own_place;
use super::super::simd::{Kernel, Lanes, Level, dispatch};
use super::panel::{Grid, MAX_DISTANCES, Part, Views, Window};
use super::product::{BLOCK, Left, Multiplier, SIDE, Sums};
use super::weights::Weights;
use crate::tape::Shape;
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;

/// Numbers of a panel that are passed by few rows of wide images alone: a quarter of the level-2 cache of the processors that have AMX.
/// Few in tests, which then see several bands.
const PANEL_LEN: usize = if cfg!(test) { 1 << 12 } else { 1 << 18 };
/// Fewest rows of a band: those above and below it are laid into two panels.
const MIN_ROWS: usize = if cfg!(test) { 2 } else { 4 };
/// Tasks that even a small image is cut into.
const MIN_TASKS: usize = 32;

/// Where a pixel's results go.
#[derive(Clone, Copy)]
pub struct Target {
    start: *mut bf16,
    len: usize,
    channels: usize,
    /// Numbers from an image, a row, a pixel to the next.
    pitch: [usize; 3],
}

impl Target {
    /// A target of no channels.
    pub fn none() -> Target {
        Target { start: std::ptr::null_mut(), len: 0, channels: 0, pitch: [0; 3] }
    }

    /// All pixels of images of `shape`.
    pub fn whole(out: &mut [bf16], shape: Shape) -> Target {
        let c = shape.c();
        let pitch = [shape.h() * shape.w() * c, shape.w() * c, c];
        Target { start: out.as_mut_ptr(), len: out.len(), channels: c, pitch }
    }

    /// The pixels (2 y + tap / 2, 2 x + tap % 2) of images of which `self` is all pixels.
    pub fn quarter(self, tap: usize) -> Target {
        let [image, row, pixel] = self.pitch;
        let offset = tap / 2 * row + tap % 2 * pixel;
        assert!(offset <= self.len, "a quarter lies in its image");
        // SAFETY: the offset was just checked.
        Target { start: unsafe { self.start.add(offset) }, len: self.len - offset, pitch: [image, 2 * row, 2 * pixel], ..self }
    }
}

// SAFETY: an address alone, to be written to by one task a place.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

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

/// How a convolution is cut.
#[derive(Clone, Copy)]
struct Cut {
    window: Window,
    width: usize,
    height: usize,
    images: usize,
    rows: usize,
    column_blocks: usize,
    /// Column blocks of a task.
    group: usize,
}

impl Cut {
    fn new(kernel: usize, features: usize, [images, height, width]: [usize; 3], channels: impl Iterator<Item = usize>) -> Cut {
        let window = Window::new(kernel, features);
        let column_blocks: usize = channels.map(|c| c.div_ceil(SIDE)).sum();
        let row_len = Grid { window, width, rows: 1, images: 1 }.pitch() * window.blocks() * SIDE;
        let most = (PANEL_LEN / row_len).saturating_sub(kernel - 1).clamp(MIN_ROWS, 4096);
        // Even bands, none of them much smaller than the others.
        let bands = height.div_ceil(most);
        let rows = height.div_ceil(bands);
        let groups = MIN_TASKS.div_ceil(images * height.div_ceil(rows)).min(column_blocks);
        Cut { window, width, height, images, rows, column_blocks, group: column_blocks.div_ceil(groups) }
    }

    fn grid(self) -> Grid {
        Grid { window: self.window, width: self.width, rows: self.rows, images: 1 }
    }

    fn packed_len(self) -> usize {
        self.column_blocks * self.window.steps() * BLOCK
    }

    fn panel_len(self) -> usize {
        self.grid().panel_len(self.window.blocks())
    }
}

/// Bytes of the workspace of a convolution of images of `size` (images, rows, columns) with `features` in and `channels` out.
pub fn workspace(threads: usize, kernel: usize, features: usize, size: [usize; 3], channels: &[usize]) -> usize {
    let cut = Cut::new(kernel, features, size, channels.iter().copied());
    (cut.packed_len() + threads * cut.panel_len()) * size_of::<bf16>()
}

impl Convolution<'_> {
    /// Computes all targets; `workspace` has what [`workspace`] asks for.
    pub fn run(&self, workspace: &mut [bf16]) {
        let channels = self.targets.iter().map(|t| t.channels);
        let cut = Cut::new(self.kernel, self.views.features(), self.views.size(), channels);
        let (packed, rest) = workspace.split_at_mut(cut.packed_len());
        assert!(rest.len() >= rayon::current_num_threads() * cut.panel_len(), "the workspace of a convolution");
        self.pack(cut, packed);
        let work = Work { convolution: self, cut, packed, panels: rest.as_mut_ptr() };
        let (bands, groups) = (cut.height.div_ceil(cut.rows), cut.column_blocks.div_ceil(cut.group));
        (0..cut.images * bands * groups).into_par_iter().for_each(|task| {
            let (band, group) = (task / groups, task % groups);
            let columns = group * cut.group..((group + 1) * cut.group).min(cut.column_blocks);
            let first_row = band % bands * cut.rows;
            dispatch(self.level, Task { work: &work, image: band / bands, first_row, columns });
        });
    }

    fn pack(&self, cut: Cut, packed: &mut [bf16]) {
        let (mut from, mut rest) = (0, packed);
        let size = self.weights.ci * self.weights.co;
        for (i, target) in self.targets.iter().enumerate() {
            let (own, others) = rest.split_at_mut(target.channels.div_ceil(SIDE) * cut.window.steps() * BLOCK);
            match self.tap_each {
                true => {
                    let weights = Weights { data: &self.weights.data[i * size..(i + 1) * size], ..self.weights };
                    weights.pack(self.level, cut.window, 0, target.channels, own);
                }
                false => self.weights.pack(self.level, cut.window, from, target.channels, own),
            }
            from += target.channels;
            rest = others;
        }
    }

    /// The target of a column block, and the block's first channel there.
    fn locate(&self, mut block: usize) -> (Target, usize) {
        for &target in self.targets {
            let n = target.channels.div_ceil(SIDE);
            if block < n {
                return (target, block * SIDE);
            }
            block -= n;
        }
        unreachable!("block numbers are below the number of blocks")
    }
}

struct Work<'a> {
    convolution: &'a Convolution<'a>,
    cut: Cut,
    packed: &'a [bf16],
    /// A panel of each thread.
    panels: *mut bf16,
}

// SAFETY: threads write to panels of their own, and tasks to pixels and channels of their own.
unsafe impl Sync for Work<'_> {}

/// A band of rows of an image, and some column blocks.
struct Task<'a> {
    work: &'a Work<'a>,
    image: usize,
    first_row: usize,
    columns: Range<usize>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (cut, convolution) = (self.work.cut, self.work.convolution);
        let window = cut.window;
        let rows = cut.rows.min(cut.height - self.first_row);
        let grid = Grid { rows, ..cut.grid() };
        // SAFETY: `run` has checked the room of all threads' panels.
        let panel =
            unsafe { std::slice::from_raw_parts_mut(self.work.panels.add(own_place() * cut.panel_len()), cut.panel_len()) };
        let (views, blocks, valid_rows) = (convolution.views, 0..window.blocks(), 0..cut.height);
        Part { views, window, first_image: self.image, first_row: self.first_row, blocks, valid_rows }.fill(grid, panel);
        let distances: [usize; MAX_DISTANCES] = std::array::from_fn(|i| grid.distance(i) * SIDE);
        let (distances, steps) = (&distances[..window.distances()], window.steps());
        let multiplier = Multiplier::new(convolution.level);
        // Two, so that the units multiply the next block while one is stored.
        let mut sums = [Sums([0.0; BLOCK]), Sums([0.0; BLOCK])];
        for block in self.columns.clone() {
            let weights = self.work.packed[block * steps * BLOCK..][..steps * BLOCK].as_ptr();
            let (target, channel) = convolution.locate(block);
            let tail = Tail {
                scale: of_block(convolution.scale, channel, 1.0),
                bias: of_block(convolution.bias, channel, 0.0),
                relu: convolution.relu,
            };
            let blocks = (rows * grid.pitch()).div_ceil(SIDE);
            for i in 0..=blocks {
                // SAFETY: the caller has the level; the panel's zeros behind the last position cover what is read past it.
                unsafe {
                    if i < blocks {
                        let start = panel.as_ptr().add(i * BLOCK);
                        let left = Left { start, distances, count: window.blocks(), pitch: grid.plane() * SIDE };
                        multiplier.multiply::<L>(&left, weights, sums[i % 2].0.as_mut_ptr(), false);
                    }
                    if i > 0 {
                        self.store::<L>(grid, (i - 1) * SIDE, &sums[(i - 1) % 2], &tail, target, channel);
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// Stores those of 32 positions from `first` on that are pixels.
    #[inline(always)]
    unsafe fn store<L: Lanes>(&self, grid: Grid, first: usize, sums: &Sums, tail: &Tail, target: Target, channel: usize) {
        let pitch = grid.pitch();
        let valid = SIDE.min(target.channels - channel);
        let [image, row, pixel] = target.pitch;
        let (mut y, mut x) = (first / pitch, first % pitch);
        for m in 0..SIDE {
            if y >= grid.rows {
                return;
            }
            if x < grid.width {
                let at = self.image * image + (self.first_row + y) * row + x * pixel + channel;
                assert!(at + valid <= target.len, "a pixel outside its image");
                // SAFETY: the caller has the level; bounds were just checked, and this task alone owns the pixel's channels.
                unsafe { store_row::<L>(&sums.0[m * SIDE..], tail, target.start.add(at), valid) };
            }
            x += 1;
            if x == pitch {
                (y, x) = (y + 1, 0);
            }
        }
    }
}

/// What happens to the sums of 32 channels.
struct Tail {
    scale: [f32; SIDE],
    bias: [f32; SIDE],
    relu: bool,
}

impl Tail {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(&self, sums: *const f32, i: usize) -> L {
        // SAFETY: the caller has the level and 32 sums, with N of them behind the i-th.
        unsafe {
            let value = L::load(sums.add(i)).mul_add(L::load(self.scale.as_ptr().add(i)), L::load(self.bias.as_ptr().add(i)));
            if self.relu { value.relu() } else { value }
        }
    }
}

/// The numbers of 32 channels from `channel` on, `default` where there are none.
fn of_block(numbers: Option<&[f32]>, channel: usize, default: f32) -> [f32; SIDE] {
    let mut padded = [default; SIDE];
    if let Some(numbers) = numbers {
        let n = SIDE.min(numbers.len() - channel);
        padded[..n].copy_from_slice(&numbers[channel..channel + n]);
    }
    padded
}

/// Rounds the first `valid` of 32 sums.
#[inline(always)]
unsafe fn store_row<L: Lanes>(sums: &[f32], tail: &Tail, at: *mut bf16, valid: usize) {
    assert!(sums.len() >= SIDE && valid <= SIDE);
    let mut few = [bf16::ZERO; SIDE];
    let to = if valid == SIDE { at } else { few.as_mut_ptr() };
    // SAFETY: the caller has the level and `valid` numbers at `at`.
    unsafe {
        for i in (0..SIDE).step_by(2 * L::N) {
            let first = tail.apply::<L>(sums.as_ptr(), i);
            let second = tail.apply::<L>(sums.as_ptr(), i + L::N);
            first.store_two_bf16(second, to.add(i));
        }
        if valid < SIDE {
            std::ptr::copy_nonoverlapping(few.as_ptr(), at, valid);
        }
    }
}
