//! Panels laid out anew where positions are what is summed over: the left side transposed, the right side by pairs.

use super::super::simd::Lanes;
use super::panel::{Grid, Part};
use super::product::{BLOCK, SIDE};
use half::bf16;

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
                unsafe { transpose::<L>(from, &mut out[(block * steps + step) * BLOCK..][..BLOCK]) };
            }
        }
        done = ready.min(steps).max(done);
    }
}

/// Lays a part out in two copies, each `[block][pair of positions][32 features][2]`: pairs begin at even positions in the first, at odd
/// ones in the second, whose last pair is not written. `panel` is scratch. Row by row as well.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub unsafe fn pair_part<L: Lanes>(part: &Part<'_>, grid: Grid, panel: &mut [bf16], out: [&mut [bf16]; 2]) {
    part.begin(grid, panel);
    let plane = grid.plane();
    let rows = grid.images * grid.image_rows();
    let mut done = [0; 2];
    for row in 0..rows {
        // SAFETY: begun above.
        unsafe { part.fill_row(grid, row, panel) };
        let filled = if row + 1 < rows { (row + 1) * grid.pitch() } else { plane };
        for parity in 0..2 {
            let ready = filled.saturating_sub(parity) / 2;
            for block in 0..part.blocks.len() {
                let from = &panel[block * plane * SIDE..][..plane * SIDE];
                let out = &mut out[parity][block * plane * SIDE..][..plane * SIDE];
                for pair in done[parity]..ready {
                    let from = &from[(2 * pair + parity) * SIDE..][..2 * SIDE];
                    let out = &mut out[2 * pair * SIDE..][..2 * SIDE];
                    // SAFETY: the caller has the level; both are two positions long.
                    unsafe { L::interleave(from.as_ptr(), from.as_ptr().add(SIDE), out.as_mut_ptr()) };
                }
            }
            done[parity] = ready.max(done[parity]);
        }
    }
}

/// 32 positions of 32 numbers as 32 numbers of 32 positions: by twos, which are words, and these transposed.
#[inline(always)]
unsafe fn transpose<L: Lanes>(from: &[bf16], out: &mut [bf16]) {
    assert!(from.len() == BLOCK && out.len() == BLOCK);
    let mut pairs = [bf16::ZERO; BLOCK];
    // SAFETY: the caller has the level; all rows lie in their blocks.
    unsafe {
        for i in 0..SIDE / 2 {
            let row = from.as_ptr().add(2 * i * SIDE);
            L::interleave(row, row.add(SIDE), pairs.as_mut_ptr().add(2 * i * SIDE));
        }
        for half in 0..2 {
            let (from, out) = (pairs.as_ptr().add(half * SIDE), out.as_mut_ptr().add(half * BLOCK / 2));
            L::transpose_words(from.cast(), SIDE, out.cast(), SIDE / 2);
        }
    }
}
