//! Sums over pixels, two values per channel: what batch normalisation and biases need.
//!
//! Pixels are cut into chunks by shape. Inside a chunk up to 128 terms are added in f32 lanes, then in f64; chunks leave f64 partial
//! sums `[chunk][2][C]` that are combined in index order by the caller.

use super::simd::{Kernel, Lanes, Level, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// Floats of a chunk.
const CHUNK_FLOATS: usize = 32_768;
/// Terms that are added in f32.
const SHORT_SUM: usize = 128;

/// The two terms to be summed.
pub(super) trait Terms: Sync {
    /// The terms of the N channels from `channel` on of the pixel whose floats start at `at`. `first` is where the chunk starts.
    ///
    /// # Safety
    /// The CPU has the level; the indices are in bounds.
    unsafe fn terms<L: Lanes>(&self, at: usize, channel: usize, first: usize) -> [L; 2];
}

/// Pixels of a chunk, and how many chunks there are.
pub(super) fn chunks(pixels: usize, channels: usize) -> (usize, usize) {
    let size = (CHUNK_FLOATS / channels).clamp(16, pixels.max(16));
    (size, pixels.div_ceil(size))
}

/// Bytes of the partial sums.
pub(super) fn workspace(pixels: usize, channels: usize) -> usize {
    chunks(pixels, channels).1 * 2 * channels * size_of::<f64>()
}

/// Fills `partials` `[chunk][2][C]` with the sums of each chunk.
pub(super) fn sum(level: Level, terms: &impl Terms, pixels: usize, channels: usize, partials: &mut [f64]) {
    let (size, n) = chunks(pixels, channels);
    partials[..n * 2 * channels].par_chunks_mut(2 * channels).enumerate().with_max_len(1).for_each(|(chunk, sums)| {
        let pixels = chunk * size..((chunk + 1) * size).min(pixels);
        dispatch(level, ChunkSum { terms, pixels, channels, sums });
    });
}

/// Adds the partial sums of all chunks in order: `total[k][c]`.
pub(super) fn combine(partials: &[f64], pixels: usize, channels: usize, mut take: impl FnMut(usize, [f64; 2])) {
    let (_, n) = chunks(pixels, channels);
    for c in 0..channels {
        let mut total = [0.0; 2];
        for chunk in partials.chunks_exact(2 * channels).take(n) {
            total[0] += chunk[c];
            total[1] += chunk[channels + c];
        }
        take(c, total);
    }
}

struct ChunkSum<'a, T> {
    terms: &'a T,
    pixels: Range<usize>,
    channels: usize,
    sums: &'a mut [f64],
}

impl<T: Terms> Kernel for ChunkSum<'_, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        self.sums.fill(0.0);
        let mut channel = 0;
        // SAFETY: the caller has the level; every vector lies within the channels.
        unsafe {
            while channel + 4 * L::N <= self.channels {
                self.add_columns::<L, 4>(channel);
                channel += 4 * L::N;
            }
            while channel + 2 * L::N <= self.channels {
                self.add_columns::<L, 2>(channel);
                channel += 2 * L::N;
            }
            while channel + L::N <= self.channels {
                self.add_columns::<L, 1>(channel);
                channel += L::N;
            }
            while channel < self.channels {
                self.add_columns::<f32, 1>(channel);
                channel += 1;
            }
        }
    }
}

impl<T: Terms> ChunkSum<'_, T> {
    #[inline(always)]
    unsafe fn add_columns<L: Lanes, const B: usize>(&mut self, channel: usize) {
        let first = self.pixels.start * self.channels;
        for start in self.pixels.clone().step_by(SHORT_SUM) {
            let end = (start + SHORT_SUM).min(self.pixels.end);
            // SAFETY: passed on.
            unsafe {
                let mut sums = [[L::splat(0.0); 2]; B];
                for pixel in start..end {
                    for (b, sum) in sums.iter_mut().enumerate() {
                        let c = channel + b * L::N;
                        let [t0, t1] = self.terms.terms::<L>(pixel * self.channels + c, c, first);
                        *sum = [sum[0].add(t0), sum[1].add(t1)];
                    }
                }
                for (b, sum) in sums.iter().enumerate() {
                    for (k, lanes) in sum.iter().enumerate() {
                        let mut floats = [0.0f32; 16];
                        lanes.store(floats.as_mut_ptr());
                        let out = &mut self.sums[k * self.channels + channel + b * L::N..][..L::N];
                        out.iter_mut().zip(&floats).for_each(|(o, f)| *o += f64::from(*f));
                    }
                }
            }
        }
    }
}
