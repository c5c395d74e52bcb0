//! The products of the transformed domain: register tiles over operands that lie a constant step apart.

use super::super::simd::{Lanes, prefetch};

/// Channels of a group of transformed patches: a cache line.
pub(super) const GROUP: usize = 16;

/// How many floats ahead operands are asked for that come from the level-2 cache or from memory: left alone, a core keeps too few lines under
/// way.
const AHEAD: usize = 1024;

/// Asks for two vectors.
#[inline(always)]
fn prefetch_two<L: Lanes>(at: *const f32) {
    prefetch(at);
    if 2 * L::N > GROUP {
        prefetch(at.wrapping_add(GROUP));
    }
}

/// M tiles times two vectors of output channels, all sums in registers: the sum over `depth` channels of V U. V lies in groups of
/// [`GROUP`] channels, `group_step` floats apart; U has two vectors a channel.
///
/// # Safety
/// The CPU has the level; V has M tiles in each group, U `depth` rows, `out` room for M rows of two vectors.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, const M: usize>(
    mut v: *const f32,
    group_step: usize,
    depth: usize,
    mut u: *const f32,
    out: *mut f32,
) {
    // SAFETY: passed on.
    unsafe {
        let mut sums = [[L::splat(0.0); 2]; M];
        let mut left = depth;
        while left > 0 {
            for k in 0..left.min(GROUP) {
                let (u0, u1) = (L::load(u), L::load(u.add(L::N)));
                prefetch_two::<L>(u.wrapping_add(AHEAD));
                for (m, sum) in sums.iter_mut().enumerate() {
                    let value = L::splat(*v.add(m * GROUP + k));
                    *sum = [value.mul_add(u0, sum[0]), value.mul_add(u1, sum[1])];
                }
                u = u.add(2 * L::N);
            }
            left -= left.min(GROUP);
            v = v.wrapping_add(group_step);
        }
        // All rows, wanted or not: a number of rows that is not constant would keep the sums in memory.
        for (m, sum) in sums.iter().enumerate() {
            sum[0].store(out.add(m * 2 * L::N));
            sum[1].store(out.add(m * 2 * L::N + L::N));
        }
    }
}

/// M input channels times two vectors of output channels: the sum over `n` tiles of outer products of V, whose tiles lie [`GROUP`]
/// floats apart, and E, whose tiles lie two vectors apart. Row m is added to the two vectors at `out + m out_step`, or written
/// there if `is_first`.
///
/// # Safety
/// The CPU has the level; V and E have `n` tiles, `out` M rows of two vectors.
#[inline(always)]
pub(super) unsafe fn outer_products<L: Lanes, const M: usize>(
    mut v: *const f32,
    mut e: *const f32,
    n: usize,
    out: *mut f32,
    out_step: usize,
    is_first: bool,
) {
    if M > L::TILE_ROWS {
        // Never asked for, but compiled: without this, sums that do not fit into registers.
        unreachable!("a tile of {M} rows");
    }
    // SAFETY: passed on.
    unsafe {
        let mut sums = [[L::splat(0.0); 2]; M];
        for _ in 0..n {
            let (e0, e1) = (L::load(e), L::load(e.add(L::N)));
            prefetch_two::<L>(e.wrapping_add(AHEAD));
            // As many tiles ahead.
            prefetch(v.wrapping_add(AHEAD / (2 * L::N) * GROUP));
            for (m, sum) in sums.iter_mut().enumerate() {
                let value = L::splat(*v.add(m));
                *sum = [value.mul_add(e0, sum[0]), value.mul_add(e1, sum[1])];
            }
            v = v.add(GROUP);
            e = e.add(2 * L::N);
        }
        for (m, row) in sums.iter().enumerate() {
            for (half, sum) in row.iter().enumerate() {
                let to = out.add(m * out_step + half * L::N);
                if is_first { sum.store(to) } else { sum.add(L::load(to)).store(to) }
            }
        }
    }
}
