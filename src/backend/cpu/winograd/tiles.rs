//! The tiles of an image, and how patches around them are read and transformed.

use super::super::simd::Lanes;
use super::transform::{IN, Input, OUT, OutputGrad, POINTS, both_ways, store};
use crate::tape::Shape;
use std::ops::Range;

/// An image cut into tiles of 4 x 4 pixels, image by image, row by row; those at the right and lower edge may reach beyond it.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub image: Shape,
    rows: usize,
    columns: usize,
}

/// A tile: its first pixel, and how many of its rows and columns lie in the image.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub n: usize,
    pub y: usize,
    pub x: usize,
    pub height: usize,
    pub width: usize,
}

impl Tiles {
    pub fn new(image: Shape) -> Tiles {
        Tiles { image, rows: image.h().div_ceil(OUT), columns: image.w().div_ceil(OUT) }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.image.n() * self.rows * self.columns
    }

    pub fn at(self, index: usize) -> Tile {
        let (n, row, column) = (index / (self.rows * self.columns), index / self.columns % self.rows, index % self.columns);
        let (y, x) = (row * OUT, column * OUT);
        Tile { n, y, x, height: OUT.min(self.image.h() - y), width: OUT.min(self.image.w() - x) }
    }

    /// The pixel (y, x) of image `n`, counted from the start of all images.
    pub fn pixel(self, n: usize, y: usize, x: usize) -> usize {
        (n * self.image.h() + y) * self.image.w() + x
    }

    /// Where the pixels of the patch around a tile lie in an image of `channels`: `zeros` outside of it.
    #[inline(always)]
    fn patch(self, tile: Tile, data: &[f32], channels: usize, zeros: &[f32]) -> [*const f32; POINTS] {
        let mut pointers = [zeros.as_ptr(); POINTS];
        let (right, below) = (tile.x + OUT, tile.y + OUT);
        if tile.x > 0 && tile.y > 0 && right < self.image.w() && below < self.image.h() {
            // Most patches lie in the image: one check of the bounds for all pixels.
            let first = self.pixel(tile.n, tile.y - 1, tile.x - 1);
            let all = &data[first * channels..(self.pixel(tile.n, below, right) + 1) * channels];
            for i in 0..IN {
                for j in 0..IN {
                    pointers[i * IN + j] = all.as_ptr().wrapping_add((i * self.image.w() + j) * channels);
                }
            }
            return pointers;
        }
        for i in 0..IN {
            // One above and to the left; wraps to a huge number outside of the image.
            let y = (tile.y + i).wrapping_sub(1);
            for j in 0..IN {
                let x = (tile.x + j).wrapping_sub(1);
                if y < self.image.h() && x < self.image.w() {
                    pointers[i * IN + j] = data[self.pixel(tile.n, y, x) * channels..][..channels].as_ptr();
                }
            }
        }
        pointers
    }

    /// Where the pixels of a tile lie.
    #[inline(always)]
    fn inside(self, tile: Tile, data: &[f32], channels: usize, zeros: &[f32]) -> [*const f32; OUT * OUT] {
        let mut pointers = [zeros.as_ptr(); OUT * OUT];
        for i in 0..tile.height {
            for j in 0..tile.width {
                let at = self.pixel(tile.n, tile.y + i, tile.x + j) * channels;
                pointers[i * OUT + j] = data[at..][..channels].as_ptr();
            }
        }
        pointers
    }
}

/// Transformed tiles: `[point][group of channels][tile][channel of the group]`. Neighbouring tiles of a group lie a constant step
/// apart, so that products address them without a pointer for each.
#[derive(Clone, Copy)]
pub(super) struct Transformed {
    pub start: *mut f32,
    pub tiles: usize,
    /// Channels of a group.
    pub group: usize,
    pub point_step: usize,
}

impl Transformed {
    /// Room for `tiles` tiles of `channels` channels from `start` on.
    pub fn new(start: *mut f32, tiles: usize, channels: usize, group: usize) -> Transformed {
        Transformed { start, tiles, group, point_step: point_step(tiles, channels, group) }
    }

    /// Where `channel` of tile `place` lies for a point. A vector from there on must not leave its group.
    #[inline(always)]
    pub fn at(self, point: usize, place: usize, channel: usize) -> *mut f32 {
        let (group, within) = (channel / self.group, channel % self.group);
        self.start.wrapping_add(point * self.point_step + (group * self.tiles + place) * self.group + within)
    }
}

/// Floats between two points: one cache line more than the tiles need, since powers of two would crowd all points into a few sets
/// of the level-1 cache.
pub(super) fn point_step(tiles: usize, channels: usize, group: usize) -> usize {
    (tiles * channels.next_multiple_of(group)).next_multiple_of(16) + 16
}

/// Floats of all points.
pub(super) fn floats(tiles: usize, channels: usize, group: usize) -> usize {
    POINTS * point_step(tiles, channels, group)
}

/// Bᵀ d B of the patches around the tiles `range` for all channels of an image, to the tiles from `place` on and the channels from
/// `from` on of `out`.
///
/// # Safety
/// The CPU has the level; `out` has room for tiles and channels, which nobody else touches.
#[inline(always)]
pub(super) unsafe fn transform_patches<L: Lanes>(
    tiles: Tiles,
    range: Range<usize>,
    (data, channels): (&[f32], usize),
    zeros: &[f32],
    out: Transformed,
    (place, from): (usize, usize),
) {
    assert!(zeros.len() >= channels, "zeros for all channels");
    if channels == 0 {
        return;
    }
    // Vectors begin where none leaves its group.
    let head = (from.next_multiple_of(L::N) - from).min(channels);
    let whole = head + (channels - head) / L::N * L::N;
    for (i, index) in range.enumerate() {
        let pixels = tiles.patch(tiles.at(index), data, channels, zeros);
        // SAFETY: every pointer has `channels` floats behind it; the rest is passed on.
        unsafe {
            for c in (head..whole).step_by(L::N) {
                patch::<L>(&pixels, c, out.at(0, place + i, from + c), out.point_step);
            }
            for c in (0..head).chain(whole..channels) {
                patch::<f32>(&pixels, c, out.at(0, place + i, from + c), out.point_step);
            }
        }
    }
}

#[inline(always)]
unsafe fn patch<L: Lanes>(pixels: &[*const f32; POINTS], channel: usize, to: *mut f32, step: usize) {
    // SAFETY: passed on.
    unsafe {
        let d: [[L; IN]; IN] = gather(pixels, channel);
        store(&both_ways::<Input, L, IN, IN>(&d), to, step);
    }
}

/// A dy Aᵀ of the tiles `range` for all channels, to the tiles from `place` on of `out`; zeros up to the end of the last group.
///
/// # Safety
/// As [`transform_patches`].
#[inline(always)]
pub(super) unsafe fn transform_tiles<L: Lanes>(
    tiles: Tiles,
    range: Range<usize>,
    (data, channels): (&[f32], usize),
    zeros: &[f32],
    out: Transformed,
    place: usize,
) {
    assert!(zeros.len() >= channels, "zeros for all channels");
    let whole = channels / L::N * L::N;
    for (i, index) in range.enumerate() {
        let pixels = tiles.inside(tiles.at(index), data, channels, zeros);
        // SAFETY: as above.
        unsafe {
            for c in (0..whole).step_by(L::N) {
                tile::<L>(&pixels, c, out.at(0, place + i, c), out.point_step);
            }
            for c in whole..channels {
                tile::<f32>(&pixels, c, out.at(0, place + i, c), out.point_step);
            }
            let padding = channels.next_multiple_of(out.group) - channels;
            if padding > 0 {
                for point in 0..POINTS {
                    out.at(point, place + i, channels).write_bytes(0, padding);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes>(pixels: &[*const f32; OUT * OUT], channel: usize, to: *mut f32, step: usize) {
    // SAFETY: passed on.
    unsafe {
        let dy: [[L; OUT]; OUT] = gather(pixels, channel);
        store(&both_ways::<OutputGrad, L, OUT, IN>(&dy), to, step);
    }
}

/// The vectors from `channel` on of A x A pixels.
#[inline(always)]
unsafe fn gather<L: Lanes, const A: usize>(pixels: &[*const f32], channel: usize) -> [[L; A]; A] {
    // SAFETY: passed on.
    unsafe {
        let mut patch = [[L::splat(0.0); A]; A];
        for (row, pixels) in patch.iter_mut().zip(pixels.chunks_exact(A)) {
            for (value, pixel) in row.iter_mut().zip(pixels) {
                *value = L::load(pixel.add(channel));
            }
        }
        patch
    }
}
