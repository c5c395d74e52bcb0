//! How a convolution is cut into tasks.

use super::product::{BLOCK, SIDE};
use super::window::{Grid, Window};
use crate::plan::Scratch;
use half::bf16;

/// Numbers of a panel that are passed by few rows of wide images alone: a quarter of the level-2 cache of the processors that have AMX.
/// Few in tests, which then see several bands.
const PANEL_LEN: usize = if cfg!(test) { 1 << 12 } else { 1 << 18 };
/// Numbers of a task's packed columns, which stay in the same cache while the thread goes from band to band: half of it. At least one column block.
pub const PACKED_LEN: usize = if cfg!(test) { 1 << 16 } else { 1 << 19 };
/// Fewest rows of a band: those above and below it are laid into two panels.
pub const MIN_ROWS: usize = if cfg!(test) { 2 } else { 8 };
/// Tasks that even a small image is cut into: into bands, since every group of columns lays all bands out for itself, and into more groups
/// where these would have too few rows.
pub const MIN_TASKS: usize = if cfg!(test) { 6 } else { 32 };
/// Blocks of columns for each thread from which on they are shared out.
const MIN_COLUMN_BLOCKS: usize = 4;

/// What tasks share out; the other side of the products lies ready before they begin.
#[derive(Clone, Copy, PartialEq)]
pub enum Shared {
    /// Bands of rows, which a task lays out as a panel, and groups of column blocks.
    Bands,
    /// Column blocks, which a task packs: where there are more weights than pixels.
    Columns,
}

/// How a convolution is cut.
#[derive(Clone, Copy)]
pub struct Cut {
    pub shared: Shared,
    pub window: Window,
    pub width: usize,
    pub height: usize,
    pub images: usize,
    /// Of a band.
    pub rows: usize,
    pub column_blocks: usize,
    /// Column blocks of a task.
    pub group: usize,
}

impl Cut {
    /// Results have the same bits however it is cut: every one is a sum over all steps, in their order, of one product.
    pub fn new(
        threads: usize,
        kernel: usize,
        features: usize,
        [images, height, width]: [usize; 3],
        channels: impl Iterator<Item = usize>,
    ) -> Cut {
        let window = Window::new(kernel, features);
        let column_blocks: usize = channels.map(|c| c.div_ceil(SIDE)).sum();
        let whole = Cut { shared: Shared::Columns, window, width, height, images, rows: height, column_blocks, group: 1 };
        if column_blocks >= MIN_COLUMN_BLOCKS * threads && whole.packed_len() > images * whole.panel_len() {
            return whole;
        }
        let groups = column_blocks.div_ceil((PACKED_LEN / whole.block_len()).max(1));
        let row_len = Grid { rows: 1, ..whole.grid() }.pitch() * window.blocks() * SIDE;
        let most = (PANEL_LEN / row_len).saturating_sub(kernel - 1).min(height / MIN_TASKS.div_ceil(images * groups));
        // Even bands, none of them much smaller than the others.
        let rows = height.div_ceil(height.div_ceil(most.max(MIN_ROWS)));
        let groups = groups.max(MIN_TASKS.div_ceil(images * height.div_ceil(rows))).min(column_blocks);
        Cut { shared: Shared::Bands, rows, group: column_blocks.div_ceil(groups), ..whole }
    }

    /// Of a band.
    pub fn grid(self) -> Grid {
        Grid { window: self.window, width: self.width, rows: self.rows, images: 1 }
    }

    pub fn panel_len(self) -> usize {
        self.grid().panel_len(self.window.blocks())
    }

    /// Numbers of a packed column block.
    pub fn block_len(self) -> usize {
        self.window.steps() * BLOCK
    }

    pub fn packed_len(self) -> usize {
        self.column_blocks * self.block_len()
    }

    /// Numbers that lie ready before tasks begin, and numbers of a task; `lasts`: besides packed columns that last.
    pub fn room(self, lasts: bool) -> [usize; 2] {
        let [packed, block] = [self.packed_len(), self.block_len()].map(|n| if lasts { 0 } else { n });
        match self.shared {
            Shared::Bands => [packed, self.panel_len()],
            Shared::Columns => [self.images * self.panel_len(), block],
        }
    }
}

/// What a convolution of images of `size` (images, rows, columns) with `features` in and `channels` out takes; `lasts`: whether packed columns
/// last.
pub fn scratch(threads: usize, kernel: usize, features: usize, size: [usize; 3], channels: &[usize], lasts: bool) -> Scratch {
    let cut = Cut::new(threads, kernel, features, size, channels.iter().copied());
    let [ready, own] = cut.room(lasts);
    let prepared = if lasts { cut.packed_len() } else { 0 };
    let [workspace, prepared] = [ready + threads * own, prepared].map(|numbers| numbers * size_of::<bf16>());
    Scratch { workspace, prepared }
}
