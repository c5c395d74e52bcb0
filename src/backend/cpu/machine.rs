//! What this machine's processor and memory reach: the roof that a profile is held against (Williams, Waterman and Patterson 2009,
//! "Roofline: an insightful visual performance model").

use super::pool::Pool;
use super::simd::{Kernel, Lanes, Level, dispatch};
use crate::error::Result;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// The roof of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Fused multiply-adds in registers, all threads at once, two operations each.
    pub gflop_per_s: f64,
    /// Copying arrays much larger than caches, all threads at once: bytes read and bytes written.
    pub gb_per_s: f64,
}

/// Multiply-adds of a thread, in units of one register tile.
const ROUNDS: usize = 2_000_000;
/// Floats of each of the two arrays that are copied.
const COPY_FLOATS: usize = 32 << 20;
/// The best of so many measurements counts: others ran beside something else.
const REPEATS: usize = 5;

impl Machine {
    /// Measures for about a second with `threads` threads (0: as many as cores).
    ///
    /// # Errors
    /// As [`super::open`].
    pub fn measure(threads: usize) -> Result<Machine> {
        let (level, pool) = (Level::choose()?, Pool::new(threads)?);
        let (mut from, mut to) = (vec![1.0f32; COPY_FLOATS], vec![0.0f32; COPY_FLOATS]);
        let mut machine = Machine { gflop_per_s: 0.0, gb_per_s: 0.0 };
        for _ in 0..REPEATS {
            let flop = (pool.threads() * ROUNDS * 2 * level.tile_rows() * level.tile_columns()) as f64;
            let seconds = timed(&pool, &mut || {
                (0..rayon::current_num_threads()).into_par_iter().with_max_len(1).for_each(|_| dispatch(level, MultiplyAdds));
            });
            machine.gflop_per_s = machine.gflop_per_s.max(flop / seconds / 1e9);
            let seconds = timed(&pool, &mut || {
                to.par_chunks_mut(1 << 16)
                    .zip(from.par_chunks(1 << 16))
                    .with_max_len(1)
                    .for_each(|(to, from)| to.copy_from_slice(from));
            });
            machine.gb_per_s = machine.gb_per_s.max((2 * COPY_FLOATS * size_of::<f32>()) as f64 / seconds / 1e9);
            // Touched by turns, so that no copy can be left out.
            std::mem::swap(&mut from, &mut to);
        }
        black_box((from, to));
        Ok(machine)
    }
}

fn timed(pool: &Pool, work: &mut (dyn FnMut() + Send)) -> f64 {
    let start = Instant::now();
    pool.run(work);
    start.elapsed().as_secs_f64()
}

/// As many independent multiply-adds as a register tile has, again and again.
struct MultiplyAdds;

impl Kernel for MultiplyAdds {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller has the level.
        unsafe {
            match L::TILE_ROWS {
                12 => multiply_adds::<L, 12>(),
                6 => multiply_adds::<L, 6>(),
                _ => multiply_adds::<L, 4>(),
            }
        }
    }
}

#[inline(always)]
unsafe fn multiply_adds<L: Lanes, const M: usize>() {
    // SAFETY: the caller has the level.
    unsafe {
        let factor = L::splat(black_box(0.999));
        let mut sums = [[L::splat(1.0); 2]; M];
        for _ in 0..ROUNDS {
            for row in &mut sums {
                *row = [row[0].mul_add(factor, factor), row[1].mul_add(factor, factor)];
            }
        }
        let mut out = [0.0f32; 16];
        for value in sums.iter().flatten() {
            value.store(out.as_mut_ptr());
            black_box(&out);
        }
    }
}
