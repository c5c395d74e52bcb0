//! Pixels laid out where positions are what is summed over: the left side transposed, the right side by pairs. Straight from the image
//! where that is possible ([`super::weight_grad_cut`]), else from a panel.

use super::super::simd::{Lanes, prefetch};
use super::panel::{Part, Pixels};
use super::product::{BLOCK, SIDE};
use super::window::Grid;
use half::bf16;
use std::ops::Range;

/// How far ahead pixels are asked for: 32 to 160 are equally good.
const PIXELS_AHEAD: usize = 64;

/// Lays the rows of a part out in `out`, `[block][step][32 features][32 pixels]`, as the left side. Rows are whole steps, and lie in the
/// image by blocks.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub unsafe fn transpose_rows<L: Lanes>(part: &Part<'_>, grid: Grid, out: &mut [bf16]) {
    let (steps, rows) = (grid.width / SIDE, grid.images * grid.rows);
    let plane = rows * steps * BLOCK;
    assert!(grid.width.is_multiple_of(SIDE) && out.len() >= part.blocks.len() * plane, "whole steps, and room for them");
    for row in 0..rows {
        for block in 0..part.blocks.len() {
            let pixels = part.pixels(grid, row / grid.rows, row % grid.rows, block);
            let Pixels { start, pitch } = pixels.expect("a row of the image");
            let out = &mut out[block * plane + row * steps * BLOCK..][..steps * BLOCK];
            for (step, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                // SAFETY: the caller has the level; the row has `width` pixels, and `out` room for a step.
                unsafe {
                    let from = start.add(step * SIDE * pitch);
                    for i in 0..SIDE {
                        prefetch(from.wrapping_add((PIXELS_AHEAD + i) * pitch));
                    }
                    L::transpose_bf16(from, pitch, out.as_mut_ptr());
                }
            }
        }
    }
}

/// As [`pair_part`], with the last pair of the second copy, straight from the image, in which blocks lie as they are. Rows, with what is
/// beside them, are of even length.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub unsafe fn pair_rows<L: Lanes>(part: &Part<'_>, grid: Grid, out: &mut [bf16], copies: usize) {
    let (plane, pitch, beside, blocks) = (grid.plane() * SIDE, grid.pitch() * SIDE, part.reach[1], part.blocks.len());
    let copy = out.len() / copies;
    assert!(grid.pitch().is_multiple_of(2) && copy >= blocks * plane, "pairs of positions, and room for them");
    for copy in out.chunks_exact_mut(copy) {
        for block in copy.chunks_exact_mut(plane).take(blocks) {
            block[grid.positions() * SIDE..].fill(bf16::ZERO);
        }
    }
    for row in 0..grid.images * grid.image_rows() {
        for block in 0..blocks {
            let pixels = part.pixels(grid, row / grid.image_rows(), row % grid.image_rows(), block);
            for parity in 0..copies {
                let out = &mut out[parity * copy + block * plane + row * pitch..][..pitch];
                match pixels {
                    // SAFETY: passed on; the pixels are a row of the image.
                    Some(pixels) => unsafe { pair_row::<L>(pixels, grid.width, beside, parity, out) },
                    None => out.fill(bf16::ZERO),
                }
            }
        }
    }
}

/// Pairs of positions of a row, whose first pixel is at position `beside`, the first pair being positions `parity` and `parity + 1`.
/// Where there is no pixel, zeros.
#[inline(always)]
unsafe fn pair_row<L: Lanes>(pixels: Pixels, width: usize, beside: usize, parity: usize, out: &mut [bf16]) {
    let Pixels { start, pitch } = pixels;
    let zeros = [bf16::ZERO; SIDE];
    for (pair, out) in out.chunks_exact_mut(2 * SIDE).enumerate() {
        let first = (2 * pair + parity).wrapping_sub(beside);
        let second = first.wrapping_add(1);
        // SAFETY: the caller has the level; pixels below `width` are there.
        unsafe {
            let a = if first < width { start.add(first * pitch) } else { zeros.as_ptr() };
            let b = if second < width { start.add(second * pitch) } else { zeros.as_ptr() };
            if parity == 0 && second < width {
                prefetch(a.wrapping_add(PIXELS_AHEAD * pitch));
                prefetch(b.wrapping_add(PIXELS_AHEAD * pitch));
            }
            L::interleave(a, b, out.as_mut_ptr());
        }
    }
}

/// Lays a part out in `out`, `[block][step][32 features][32 positions]`, as the left side; `panel` is scratch. Row by row: what was just
/// filled is then at hand.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub unsafe fn transpose_part<L: Lanes>(part: &Part<'_>, grid: Grid, panel: &mut [bf16], out: &mut [bf16], steps: usize) {
    part.begin(grid, panel);
    let mut done = 0;
    let rows = grid.images * grid.image_rows();
    for row in 0..rows {
        // SAFETY: begun above.
        unsafe { part.fill_row(grid, row, panel) };
        // Behind the last row come zeros, which the last step may take in.
        let ready = if row + 1 < rows { (row + 1) * grid.pitch() / SIDE } else { steps };
        for step in done..ready.min(steps) {
            for block in 0..part.blocks.len() {
                let from = &panel[block * grid.plane() * SIDE + step * BLOCK..][..BLOCK];
                // SAFETY: the caller has the level.
                unsafe { L::transpose_bf16(from.as_ptr(), SIDE, out[(block * steps + step) * BLOCK..][..BLOCK].as_mut_ptr()) };
            }
        }
        done = ready.min(steps).max(done);
    }
}

/// Lays a part out in one or two copies, each `[block][pair of positions][32 features][2]`: pairs begin at even positions in the first, at
/// odd ones in the second, whose last pair is not written. `panel` is scratch. Row by row as well.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub unsafe fn pair_part<L: Lanes>(part: &Part<'_>, grid: Grid, panel: &mut [bf16], out: &mut [bf16], copies: usize) {
    part.begin(grid, panel);
    let (plane, copy) = (grid.plane(), out.len() / copies);
    let rows = grid.images * grid.image_rows();
    let mut done = [0; 2];
    for row in 0..rows {
        // SAFETY: begun above.
        unsafe { part.fill_row(grid, row, panel) };
        let filled = if row + 1 < rows { (row + 1) * grid.pitch() } else { plane };
        for (parity, done) in done.iter_mut().enumerate().take(copies) {
            let ready = filled.saturating_sub(parity) / 2;
            for block in 0..part.blocks.len() {
                let from = &panel[block * plane * SIDE..][..plane * SIDE];
                let out = &mut out[parity * copy + block * plane * SIDE..][..plane * SIDE];
                // SAFETY: passed on.
                unsafe { pair_positions::<L>(from, parity, *done..ready, out) };
            }
            *done = ready;
        }
    }
}

/// Some pairs of a block's positions, of which position `parity` begins the first.
#[inline(always)]
unsafe fn pair_positions<L: Lanes>(from: &[bf16], parity: usize, pairs: Range<usize>, out: &mut [bf16]) {
    for pair in pairs {
        let from = &from[(2 * pair + parity) * SIDE..][..2 * SIDE];
        let out = &mut out[2 * pair * SIDE..][..2 * SIDE];
        // SAFETY: the caller has the level; both are two positions long.
        unsafe { L::interleave(from.as_ptr(), from.as_ptr().add(SIDE), out.as_mut_ptr()) };
    }
}
