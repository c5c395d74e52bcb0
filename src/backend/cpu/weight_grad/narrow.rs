//! Gradients of the weights of convolutions from or to a single channel: a network's first and last layer.
//!
//! ```text
//! one channel in:   dw[tap, co] = sum over q of  dy[q, co] x[q + tap]
//! one channel out:  dw[tap, ci] = sum over q of   x[q, ci] dy[q - tap]
//! ```
//!
//! Both are sums over the pixels of the wide image of a vector of its channels times single numbers of the narrow one: one accumulator a tap,
//! and nothing is laid out but the narrow image, with zeros around each picture, so that no tap looks where there is nothing. Each row is
//! summed in registers and added to the partial sum of its chunk; partial sums are added in their order, which the shape alone decides. A
//! number that is not finite at the border of the wide image spoils the sums of all taps.

use crate::backend::cpu::pool::for_each;
use crate::backend::cpu::simd::{Kernel, Lanes, Level, dispatch, prefetch};
use crate::tape::Shape;
use rayon::prelude::*;

/// Chunks of rows, at most.
const MAX_CHUNKS: usize = 64;
/// How many pixels ahead the wide image is asked for.
const PIXELS_AHEAD: usize = 16;

/// One gradient.
#[derive(Clone, Copy)]
pub(super) struct Narrow {
    pub level: Level,
    /// 1 or 3.
    pub kernel: usize,
    /// The image of many channels.
    pub wide: Shape,
    /// Whether the narrow image is the convolution's result, so that taps lead back.
    pub is_reversed: bool,
}

impl Narrow {
    /// If one side of the convolution of `x` to `channels_out` channels, or both, is a single channel.
    pub fn new(level: Level, kernel: usize, x: Shape, channels_out: usize) -> Option<Narrow> {
        match (x.c(), channels_out) {
            (1, _) => Some(Narrow { level, kernel, wide: x.with_channels(channels_out), is_reversed: false }),
            (_, 1) => Some(Narrow { level, kernel, wide: x, is_reversed: true }),
            _ => None,
        }
    }

    fn taps(self) -> usize {
        self.kernel * self.kernel
    }

    fn rows(self) -> usize {
        self.wide.n() * self.wide.h()
    }

    fn chunk_rows(self) -> usize {
        self.rows().div_ceil(MAX_CHUNKS)
    }

    /// Rows and columns of a picture with the zeros around it.
    fn padded(self) -> [usize; 2] {
        [self.wide.h(), self.wide.w()].map(|n| n + self.kernel - 1)
    }

    /// Floats of the narrow image with its zeros, and of all partial sums.
    fn room(self) -> [usize; 2] {
        let [h, w] = self.padded();
        [self.wide.n() * h * w, self.rows().div_ceil(self.chunk_rows()) * self.taps() * self.wide.c()]
    }

    /// Bytes of the workspace.
    pub fn workspace(self) -> usize {
        size_of::<f32>() * self.room().iter().sum::<usize>()
    }

    /// Writes dw [taps, C], C being the channels of the wide image.
    pub fn run(self, wide: &[f32], narrow: &[f32], workspace: &mut [f32], dw: &mut [f32]) {
        let (size, [n_plane, n_sums]) = (self.taps() * self.wide.c(), self.room());
        assert!(wide.len() == self.wide.len() && narrow.len() == self.wide.pixels() && dw.len() == size, "images of {self:?}");
        let (plane, rest) = workspace.split_at_mut(n_plane);
        let sums = &mut rest[..n_sums];
        self.pad(narrow, plane);
        let (plane, out) = (&*plane, Sums(sums.as_mut_ptr()));
        for_each(n_sums / size, |chunk| {
            // SAFETY: chunks follow one another in `sums`, and this task alone writes its own.
            let out = unsafe { std::slice::from_raw_parts_mut(out.at(chunk * size), size) };
            let rows = chunk * self.chunk_rows()..((chunk + 1) * self.chunk_rows()).min(self.rows());
            dispatch(self.level, Chunk { narrow: self, wide, plane, rows, out });
        });
        dw.fill(0.0);
        for sums in sums.chunks_exact(size) {
            for (tap, sums) in sums.chunks_exact(self.wide.c()).enumerate() {
                let tap = if self.is_reversed { self.taps() - 1 - tap } else { tap };
                let dw = &mut dw[tap * self.wide.c()..][..self.wide.c()];
                dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw += sum);
            }
        }
    }

    fn pad(self, narrow: &[f32], plane: &mut [f32]) {
        let ([h, w], pad) = (self.padded(), self.kernel / 2);
        plane.par_chunks_mut(w).enumerate().for_each(|(i, out)| {
            let (n, y) = (i / h, i % h);
            out.fill(0.0);
            if (pad..pad + self.wide.h()).contains(&y) {
                let row = n * self.wide.h() + y - pad;
                out[pad..pad + self.wide.w()].copy_from_slice(&narrow[row * self.wide.w()..][..self.wide.w()]);
            }
        });
    }
}

impl std::fmt::Debug for Narrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the gradient of {0}x{0} weights between one channel and {1:?}", self.kernel, self.wide)
    }
}

/// Written at distinct places by distinct tasks.
struct Sums(*mut f32);

// SAFETY: as said above.
unsafe impl Sync for Sums {}

impl Sums {
    fn at(&self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// The sums over some rows.
struct Chunk<'a> {
    narrow: Narrow,
    wide: &'a [f32],
    plane: &'a [f32],
    rows: std::ops::Range<usize>,
    out: &'a mut [f32],
}

impl Kernel for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on.
        unsafe {
            match self.narrow.kernel {
                1 => self.rows::<L, 1, 1>(),
                3 => self.rows::<L, 3, 9>(),
                kernel => unreachable!("a kernel of {kernel}"),
            }
        }
    }
}

impl Chunk<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, const K: usize, const TAPS: usize>(self) {
        let Chunk { narrow, wide, plane, rows, out } = self;
        let (shape, [padded_h, padded_w]) = (narrow.wide, narrow.padded());
        let (h, w, c) = (shape.h(), shape.w(), shape.c());
        out.fill(0.0);
        for row in rows {
            let pixels = &wide[row * w * c..][..w * c];
            let under = &plane[(row / h * padded_h + row % h) * padded_w..][..(K - 1) * padded_w + w + K - 1];
            let whole = c / L::N * L::N;
            // SAFETY: the caller has the level; the row's pixels have c channels, and K rows of K - 1 numbers more than pixels lie under them.
            unsafe {
                for channel in (0..whole).step_by(L::N) {
                    row_sums::<L, K, TAPS>(pixels.as_ptr().add(channel), c, w, under.as_ptr(), padded_w, &mut out[channel..]);
                }
                for channel in whole..c {
                    row_sums::<f32, K, TAPS>(pixels.as_ptr().add(channel), c, w, under.as_ptr(), padded_w, &mut out[channel..]);
                }
            }
        }
    }
}

/// Adds a row's products to the sums of a vector of channels: those of a tap lie `c` floats behind those of the tap before.
#[inline(always)]
unsafe fn row_sums<L: Lanes, const K: usize, const TAPS: usize>(
    pixels: *const f32,
    c: usize,
    w: usize,
    under: *const f32,
    pitch: usize,
    out: &mut [f32],
) {
    assert!(out.len() >= (TAPS - 1) * c + L::N, "sums of all taps");
    // SAFETY: the caller has the level, `w` pixels `c` floats apart, and K rows of w + K - 1 numbers `pitch` floats apart.
    unsafe {
        let mut sums = [L::splat(0.0); TAPS];
        for x in 0..w {
            let pixel = pixels.add(x * c);
            prefetch(pixel.wrapping_add(PIXELS_AHEAD * c));
            let pixel = L::load(pixel);
            for (tap, sum) in sums.iter_mut().enumerate() {
                *sum = L::splat(*under.add(tap / K * pitch + tap % K + x)).mul_add(pixel, *sum);
            }
        }
        for (tap, sum) in sums.iter().enumerate() {
            let at = out.as_mut_ptr().add(tap * c);
            sum.add(L::load(at)).store(at);
        }
    }
}
