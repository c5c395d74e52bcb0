//! How gradients of weights are cut into tasks, and what room that takes.

use super::panel::Views;
use super::product::{BLOCK, MAX_INNER, SIDE};
use super::window::{Grid, Window};
use half::bf16;

/// Bytes of a band, laid out: half of the level-2 cache of the processors that have AMX.
/// Few in tests, which then see several bands and several chunks of them.
const BAND_BYTES: usize = if cfg!(test) { 1 << 16 } else { 1 << 20 };
/// Bytes of all partial sums.
const PARTIAL_BYTES: usize = if cfg!(test) { 1 << 19 } else { 8 << 20 };
/// Tasks that the work is cut into by channels, where chunks are few; up to twice as many chunks, where weights are few.
const TASKS: usize = if cfg!(test) { 4 } else { 16 };

/// Features of one side.
#[derive(Clone, Copy)]
pub struct Side {
    features: usize,
    /// Whether blocks of features lie in the images as they are.
    are_blocks: bool,
}

impl Side {
    /// Of images or views of so many channels each.
    pub fn new(channels: impl Iterator<Item = usize>) -> Side {
        let mut side = Side { features: 0, are_blocks: true };
        for channels in channels {
            side.features += channels;
            side.are_blocks &= channels.is_multiple_of(SIDE);
        }
        side
    }

    pub fn of(views: &Views<'_>) -> Side {
        Side::new(views.channels())
    }
}

/// How a gradient is cut.
#[derive(Clone, Copy)]
pub struct WeightGradCut {
    pub window: Window,
    /// Images, rows, columns.
    pub size: [usize; 3],
    /// Features of dy.
    pub features_dy: usize,
    /// Blocks of x's and of dy's features.
    pub blocks: [usize; 2],
    /// Of these, those of a task.
    pub group: [usize; 2],
    /// Bands of a chunk.
    pub chunk: usize,
    /// Whether x is transposed straight from the image, row by row: then a row is some whole steps, up to [`MAX_INNER`], with nothing between
    /// two rows. Features lie by blocks, and no taps side by side.
    pub x_by_rows: bool,
    /// Whether dy is laid out straight from the image: features lie by blocks, and rows with what is beside them are of even length.
    pub dy_by_rows: bool,
    /// Images and rows of a band: several whole images, or some rows of one.
    band: [usize; 2],
}

impl WeightGradCut {
    pub fn new(kernel: usize, [x, dy]: [Side; 2], size: [usize; 3]) -> WeightGradCut {
        let window = Window::new(kernel, x.features);
        let blocks = [window.blocks(), dy.features.div_ceil(SIDE)];
        let steps_of_row = size[2] / SIDE;
        let x_by_rows =
            x.are_blocks && window.beside() == 1 && size[2].is_multiple_of(SIDE) && (1..=MAX_INNER).contains(&steps_of_row);
        let (features_dy, group, band, chunk) = (dy.features, blocks, [1, 1], 1);
        let mut cut = WeightGradCut { window, size, features_dy, blocks, group, chunk, x_by_rows, dy_by_rows: false, band };
        cut.dy_by_rows = dy.are_blocks && cut.grid().pitch().is_multiple_of(2);
        let most_chunks = (PARTIAL_BYTES / (cut.len() * size_of::<f32>())).clamp(1, 2 * TASKS);
        while cut.groups()[0] * cut.groups()[1] * most_chunks < TASKS && cut.group != [1, 1] {
            let wider = usize::from(cut.group[1] > cut.group[0]);
            cut.group[wider] = cut.group[wider].div_ceil(2);
        }
        cut.band = cut.band();
        let bands = cut.bands();
        cut.chunk = bands.div_ceil(most_chunks.min(bands));
        cut
    }

    fn band(self) -> [usize; 2] {
        let [images, height, width] = self.size;
        let blocks = self.blocks_of_scratch().iter().sum::<usize>();
        let most = (BAND_BYTES / (SIDE * size_of::<bf16>() * blocks)).max(SIDE);
        let one = Grid { window: self.window, width, rows: height, images: 1 };
        if one.image_pitch() <= most {
            let images_of_band = (most / one.image_pitch()).min(images);
            return [images.div_ceil(images.div_ceil(images_of_band)), height];
        }
        let rows = (most / one.pitch()).saturating_sub(one.image_rows() - height).clamp(1, height);
        [1, height.div_ceil(height.div_ceil(rows))]
    }

    pub fn grid(self) -> Grid {
        Grid { window: self.window, width: self.size[2], rows: self.band[1], images: self.band[0] }
    }

    /// The first image and row of band `band`, and its grid.
    pub fn place(self, band: usize) -> (usize, usize, Grid) {
        let [images, height, _] = self.size;
        let bands_of_image = height.div_ceil(self.band[1]);
        let (image, row) = (band / bands_of_image * self.band[0], band % bands_of_image * self.band[1]);
        (image, row, Grid { images: self.band[0].min(images - image), rows: self.band[1].min(height - row), ..self.grid() })
    }

    pub fn bands(self) -> usize {
        self.size[0].div_ceil(self.band[0]) * self.size[1].div_ceil(self.band[1])
    }

    pub fn chunks(self) -> usize {
        self.bands().div_ceil(self.chunk)
    }

    pub fn groups(self) -> [usize; 2] {
        [0, 1].map(|side| self.blocks[side].div_ceil(self.group[side]))
    }

    /// Rows of dw: features of all taps of x.
    pub fn rows(self) -> usize {
        self.window.distances() * self.window.expanded()
    }

    /// Numbers of dw.
    pub fn len(self) -> usize {
        self.rows() * self.features_dy
    }

    /// Steps of a band's products.
    pub fn steps(self, grid: Grid) -> usize {
        if self.x_by_rows {
            return grid.images * grid.rows * (grid.width / SIDE);
        }
        ((grid.images - 1) * grid.image_pitch() + grid.rows * grid.pitch()).div_ceil(SIDE)
    }

    /// Copies of dy by pairs: a second one where products begin at odd positions.
    pub fn copies(self) -> usize {
        let grid = self.grid();
        1 + usize::from((0..self.window.distances()).any(|i| !grid.distance(i).is_multiple_of(2)))
    }

    /// Blocks of features of: a panel of either side, x transposed, dy by pairs.
    fn blocks_of_scratch(self) -> [usize; 3] {
        let [x, dy] = self.group;
        let panel = usize::max(if self.x_by_rows { 0 } else { x }, if self.dy_by_rows { 0 } else { dy });
        [panel, x, self.copies() * dy]
    }

    /// Numbers of the same.
    pub fn scratch(self) -> [usize; 3] {
        let (grid, [panel, left, right]) = (self.grid(), self.blocks_of_scratch());
        [grid.panel_len(panel), left * self.steps(grid) * BLOCK, grid.panel_len(right)]
    }

    pub fn scratch_len(self) -> usize {
        self.scratch().iter().sum()
    }

    /// Numbers of the chunks' sums, without the first's, which lie in dw.
    pub fn partials_len(self) -> usize {
        (self.chunks() - 1) * self.len()
    }
}

/// Bytes of the workspace of a gradient that is cut so.
pub fn workspace(threads: usize, cut: WeightGradCut) -> usize {
    cut.partials_len().next_multiple_of(BLOCK) * size_of::<f32>() + threads * cut.scratch_len() * size_of::<bf16>()
}
