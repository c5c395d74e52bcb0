//! Images as panels: pixels one after another, channels by blocks of 32.

use super::super::simd::prefetch;
use super::product::SIDE;
use super::window::{Beside, Grid, Window};
use crate::tape::Shape;
use half::bf16;
use std::ops::Range;

/// An image, or every second pixel of every second row of one.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [bf16],
    channels: usize,
    /// Numbers from an image, a row, a pixel to the next.
    pitch: [usize; 3],
}

impl<'a> View<'a> {
    /// All pixels of images of `shape`.
    pub fn whole(data: &'a [bf16], shape: Shape) -> View<'a> {
        assert_eq!(data.len(), shape.len(), "an image of {shape:?}");
        let c = shape.c();
        View { data, channels: c, pitch: [shape.h() * shape.w() * c, shape.w() * c, c] }
    }

    /// The pixels (2 y + tap / 2, 2 x + tap % 2) of images of `shape`, which has even sides.
    pub fn quarter(data: &'a [bf16], shape: Shape, tap: usize) -> View<'a> {
        assert_eq!(data.len(), shape.len(), "an image of {shape:?}");
        let [image, row, pixel] = View::whole(data, shape).pitch;
        View { data: &data[tap / 2 * row + tap % 2 * pixel..], channels: pixel, pitch: [image, 2 * row, 2 * pixel] }
    }

    fn last(&self, [n, h, w]: [usize; 3]) -> usize {
        (n - 1) * self.pitch[0] + (h - 1) * self.pitch[1] + (w - 1) * self.pitch[2] + self.channels
    }
}

/// Up to four views of one size, whose channels are a pixel's features, one view after another.
#[derive(Clone, Copy)]
pub struct Views<'a> {
    list: [Option<View<'a>>; 4],
    /// Images, rows, columns.
    size: [usize; 3],
}

impl<'a> Views<'a> {
    /// Views of `n` images of `h` rows of `w` pixels.
    pub fn new(views: impl IntoIterator<Item = View<'a>>, [n, h, w]: [usize; 3]) -> Views<'a> {
        let mut list = [None; 4];
        for (place, view) in views.into_iter().enumerate() {
            assert!(view.last([n, h, w]) <= view.data.len(), "all pixels of view {place} lie in its image");
            list[place] = Some(view);
        }
        Views { list, size: [n, h, w] }
    }

    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    pub fn features(&self) -> usize {
        self.channels().sum()
    }

    /// Of each view.
    pub fn channels(&self) -> impl Iterator<Item = usize> {
        self.iter().map(|v| v.channels)
    }

    fn iter(&self) -> impl Iterator<Item = &View<'a>> {
        self.list.iter().flatten()
    }

    /// Whether every block of features lies in a view as it is.
    fn are_blocks(&self) -> bool {
        self.unit() == SIDE
    }

    /// The most numbers that can be moved at once: features of all views are multiples of it.
    fn unit(&self) -> usize {
        [SIDE, 16, 4].into_iter().find(|unit| self.iter().all(|v| v.channels.is_multiple_of(*unit))).unwrap_or(1)
    }
}

/// 32 channels of the pixels of a row, which lie `pitch` numbers apart.
#[derive(Clone, Copy)]
pub struct Pixels {
    pub start: *const bf16,
    pub pitch: usize,
}

/// What of some views is laid out, in a panel or straight from where it lies.
pub struct Part<'a> {
    pub views: Views<'a>,
    /// The features of a position.
    pub window: Window,
    /// How many rows above and columns beside the part's first pixel the first position is.
    pub reach: [usize; 2],
    pub first_image: usize,
    pub first_row: usize,
    /// Rows of the grid that are filled, of each image; zeros in the others, as outside of the images.
    pub rows: usize,
    /// Blocks of features, counted over the whole.
    pub blocks: Range<usize>,
}

impl Part<'_> {
    /// Lays the part into `panel`, `[block][position][32]` with `grid`'s positions.
    #[inline(always)]
    pub fn fill(&self, grid: Grid, panel: &mut [bf16]) {
        self.begin(grid, panel);
        for row in 0..grid.images * grid.image_rows() {
            // SAFETY: begun just above.
            unsafe { self.fill_row(grid, row, panel) };
        }
    }

    /// The zeros behind the last position; rows can then be filled one by one.
    #[inline(always)]
    pub fn begin(&self, grid: Grid, panel: &mut [bf16]) {
        let [n, h, w] = self.views.size();
        assert!(panel.len() >= grid.panel_len(self.blocks.len()), "room for a panel");
        assert!(
            self.first_image + grid.images <= n && self.first_row + grid.rows <= h && grid.width == w,
            "the part lies in its views"
        );
        assert!(self.blocks.end <= self.window.blocks(), "blocks that are there");
        for block in panel.chunks_exact_mut(grid.plane() * SIDE).take(self.blocks.len()) {
            block[grid.positions() * SIDE..].fill(bf16::ZERO);
        }
    }

    /// Row `row` of image `image` of the grid, in block `block` of the part, as it lies in its view; nothing outside of the images. Only
    /// where blocks lie in views as they are, and no taps side by side.
    #[inline(always)]
    pub fn pixels(&self, grid: Grid, image: usize, row: usize, block: usize) -> Option<Pixels> {
        let [n, h, w] = self.views.size();
        let (image, y) = (self.first_image + image, (self.first_row + row).wrapping_sub(self.reach[0]));
        assert!(
            self.views.are_blocks() && self.window.beside() == 1 && grid.width == w && image < n,
            "pixels that lie by blocks"
        );
        if row >= self.rows || y >= h {
            return None;
        }
        let mut channel = (self.blocks.start + block) * SIDE;
        for view in self.views.list.iter().flatten() {
            if channel < view.channels {
                let at = image * view.pitch[0] + y * view.pitch[1] + channel;
                return Some(Pixels { start: view.data[at..].as_ptr(), pitch: view.pitch[2] });
            }
            channel -= view.channels;
        }
        unreachable!("blocks are those of the views")
    }

    /// Lays row `row` of the grid, counted over its images, into `panel`.
    ///
    /// # Safety
    /// [`Part::begin`] has checked this grid and this panel.
    #[inline(always)]
    pub unsafe fn fill_row(&self, grid: Grid, row: usize, panel: &mut [bf16]) {
        assert!(row < grid.images * grid.image_rows() && panel.len() >= grid.panel_len(self.blocks.len()));
        // SAFETY: the row is one of the grid's; the caller has promised the rest.
        unsafe {
            match self.views.unit() {
                32 => self.fill_by::<32>(grid, row, panel),
                16 => self.fill_by::<16>(grid, row, panel),
                4 => self.fill_by::<4>(grid, row, panel),
                _ => self.fill_by::<1>(grid, row, panel),
            }
        }
    }

    /// Feature by feature, so that the innermost loop only moves.
    #[inline(always)]
    unsafe fn fill_by<const UNIT: usize>(&self, grid: Grid, row: usize, panel: &mut [bf16]) {
        let ([above, beside], plane, pitch) = (self.reach, grid.plane(), grid.pitch() * SIDE);
        // Numbers of a block before the row.
        let first = row * pitch;
        let (image, row) = (self.first_image + row / grid.image_rows(), row % grid.image_rows());
        // The last block's features that nothing is laid into.
        if !self.window.expanded().is_multiple_of(SIDE) && self.blocks.contains(&(self.window.blocks() - 1)) {
            panel[(self.blocks.len() - 1) * plane * SIDE + first..][..pitch].fill(bf16::ZERO);
        }
        let mut feature = 0;
        for tap in 0..self.window.beside() {
            let (r, s) = match self.window.beside {
                Beside::All => (tap / self.window.kernel, tap % self.window.kernel),
                _ => (0, tap),
            };
            let y = (self.first_row + row + r).wrapping_sub(above);
            // Columns whose pixel lies in the image: pixel x is that of column x + beside - s.
            let columns = match row < self.rows && y < self.views.size[1] {
                true => beside.saturating_sub(s)..(grid.width + beside - s).min(grid.pitch()),
                false => 0..0,
            };
            for view in self.views.list.iter().flatten() {
                let [image_pitch, row_pitch, pixel_pitch] = view.pitch;
                for channel in (0..view.channels).step_by(UNIT) {
                    let block = feature / SIDE;
                    if self.blocks.contains(&block) {
                        let to = (block - self.blocks.start) * plane * SIDE + first + feature % SIDE;
                        let from = if columns.is_empty() {
                            0
                        } else {
                            image * image_pitch + y * row_pitch + (columns.start + s - beside) * pixel_pitch + channel
                        };
                        // SAFETY: the row lies in the panel, and valid pixels in their view, whose last one was checked; a unit
                        // divides both the channels and a block.
                        unsafe {
                            let (to, from) = (panel.as_mut_ptr().add(to), view.data.as_ptr().add(from));
                            move_units::<UNIT>(to, grid.pitch(), columns.clone(), from, pixel_pitch);
                        }
                    }
                    feature += UNIT;
                }
            }
        }
    }
}

/// How far ahead pixels are asked for: their lines, where channels are few, follow one another, and are not those of the next unit.
const PIXELS_AHEAD: usize = 32;

/// Writes a unit of each of `n` positions: those of `columns` from pixels `pitch` numbers apart, zeros into the others.
#[inline(always)]
unsafe fn move_units<const UNIT: usize>(to: *mut bf16, n: usize, columns: Range<usize>, from: *const bf16, pitch: usize) {
    let zeros = [bf16::ZERO; UNIT];
    // SAFETY: the caller has promised the positions and the pixels.
    unsafe {
        for column in 0..columns.start {
            to.add(column * SIDE).cast::<[bf16; UNIT]>().write(zeros);
        }
        for (i, column) in columns.clone().enumerate() {
            prefetch(from.wrapping_add((i + PIXELS_AHEAD) * pitch));
            let unit = from.add(i * pitch).cast::<[bf16; UNIT]>().read();
            to.add(column * SIDE).cast::<[bf16; UNIT]>().write(unit);
        }
        for column in columns.end..n {
            to.add(column * SIDE).cast::<[bf16; UNIT]>().write(zeros);
        }
    }
}
