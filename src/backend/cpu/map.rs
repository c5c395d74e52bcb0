//! Element-wise work over images: each element of one or more outputs from the same element of the inputs and its channel's numbers.

use super::simd::{Kernel, Lanes, Level, Stored, dispatch, prefetch, prefetch_to_write};
use rayon::prelude::*;
use std::ops::Range;

/// Numbers of a task.
const TASK_LEN: usize = 32_768;

/// How far ahead of what is read or written from end to end the next lines are asked for, in bytes. Left alone, a core keeps too few of them under
/// way to fill the time that memory takes (docs/performance.md).
const AHEAD: usize = 4096;

/// What happens to N neighbouring elements.
pub(super) trait Elements: Sync {
    /// Computes elements `at .. at + N`, which are channels `channel ..` of their pixel, and stores them at `at`.
    ///
    /// # Safety
    /// The CPU has the level; the elements are in bounds, and nobody else computes them. N-th elements of a row begin vectors. Before
    /// anybody reads what was computed comes [`Lanes::fence`].
    unsafe fn at<L: Lanes>(&self, at: usize, channel: usize);
}

/// Bytes of an output from which on it is written past the caches: what follows will not find it there.
const NONTEMPORAL_BYTES: usize = if cfg!(test) { 1 << 12 } else { 4 << 20 };
/// Of a cache line.
const LINE_BYTES: usize = 64;

/// An output of element-wise work.
#[derive(Clone, Copy)]
pub(super) struct Out<T> {
    start: *mut T,
    /// Whether it is written past the caches.
    nontemporal: bool,
}

// SAFETY: tasks write distinct elements.
unsafe impl<T: Stored> Send for Out<T> {}
// SAFETY: as above.
unsafe impl<T: Stored> Sync for Out<T> {}

impl<T: Stored> Out<T> {
    /// An output of `len` elements.
    pub fn new(out: &mut [T], len: usize) -> Self {
        assert_eq!(out.len(), len, "an output like the input");
        Out { start: out.as_mut_ptr(), nontemporal: false }
    }

    /// The same, of which all rows of `row` elements are written from end to end. A large one is written past the caches, which saves
    /// reading its lines before.
    pub fn whole(out: &mut [T], len: usize, row: usize) -> Self {
        let is_large = size_of_val(out) >= NONTEMPORAL_BYTES;
        let by_lines = out.as_ptr().addr().is_multiple_of(LINE_BYTES) && (row * size_of::<T>()).is_multiple_of(LINE_BYTES);
        Out { nontemporal: is_large && by_lines, ..Out::new(out, len) }
    }

    /// # Safety
    /// In bounds, and with the level of `L`. In an output by [`Out::whole`] a multiple of N elements behind the start of a row; and
    /// [`Lanes::fence`] comes before anybody reads it.
    #[inline(always)]
    pub unsafe fn store<L: Lanes>(self, at: usize, value: L) {
        // SAFETY: passed on. Rows that go past the caches are whole lines, so that vectors begin at multiples of their size.
        unsafe {
            if self.nontemporal {
                debug_assert!(
                    self.start.add(at).addr().is_multiple_of(L::N * size_of::<T>()),
                    "a vector that begins within another"
                );
                return T::store_nontemporal(value, self.start.add(at));
            }
            prefetch_to_write(self.start.wrapping_add(at + AHEAD / size_of::<T>()));
            T::store(value, self.start.add(at))
        }
    }

    /// # Safety
    /// In bounds, and with the level of `L`.
    #[inline(always)]
    pub unsafe fn stream<L: Lanes>(self, at: usize) -> L {
        debug_assert!(!self.nontemporal, "an output that is read as well");
        prefetch(self.start.wrapping_add(at + AHEAD / size_of::<T>()));
        // SAFETY: passed on.
        unsafe { T::load(self.start.add(at)) }
    }
}

/// Loads from a slice without a bounds check.
///
/// # Safety
/// `at + N` elements are there, and the CPU has the level of `L`.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes, T: Stored>(from: &[T], at: usize) -> L {
    debug_assert!(at + L::N <= from.len());
    // SAFETY: passed on.
    unsafe { T::load(from.as_ptr().add(at)) }
}

/// As [`load`], from what is read from end to end.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(super) unsafe fn stream<L: Lanes, T: Stored>(from: &[T], at: usize) -> L {
    prefetch(from.as_ptr().wrapping_add(at + AHEAD / size_of::<T>()));
    // SAFETY: passed on.
    unsafe { load(from, at) }
}

/// Runs over images of `pixels` times `channels`.
pub(super) fn pixels(level: Level, elements: &impl Elements, pixels: usize, channels: usize) {
    let size = (TASK_LEN / channels).max(1);
    (0..pixels.div_ceil(size)).into_par_iter().with_max_len(1).for_each(|task| {
        let pixels = task * size..((task + 1) * size).min(pixels);
        dispatch(level, PixelTask { elements, pixels, channels });
    });
}

/// Runs over `len` elements without channels.
pub(super) fn flat(level: Level, elements: &impl Elements, len: usize) {
    (0..len.div_ceil(TASK_LEN)).into_par_iter().with_max_len(1).for_each(|task| {
        let range = task * TASK_LEN..((task + 1) * TASK_LEN).min(len);
        dispatch(level, FlatTask { elements, range });
    });
}

struct PixelTask<'a, E> {
    elements: &'a E,
    pixels: Range<usize>,
    channels: usize,
}

impl<E: Elements> Kernel for PixelTask<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for pixel in self.pixels {
            // SAFETY: passed on; a pixel's channels lie in the image.
            unsafe { row::<L, E>(self.elements, pixel * self.channels, self.channels) };
        }
        // SAFETY: passed on.
        unsafe { L::fence() };
    }
}

struct FlatTask<'a, E> {
    elements: &'a E,
    range: Range<usize>,
}

impl<E: Elements> Kernel for FlatTask<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on; the range lies in the arrays.
        unsafe {
            row::<L, E>(self.elements, self.range.start, self.range.len());
            L::fence();
        }
    }
}

/// Elements `start .. start + len`, whose channels count from 0.
#[inline(always)]
unsafe fn row<L: Lanes, E: Elements>(elements: &E, start: usize, len: usize) {
    let mut i = 0;
    // SAFETY: passed on; `i + N <= len`.
    unsafe {
        while i + L::N <= len {
            elements.at::<L>(start + i, i);
            i += L::N;
        }
        while i < len {
            elements.at::<f32>(start + i, i);
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    /// x less a multiple of the channel.
    struct Less<'a, T> {
        x: &'a [T],
        y: Out<T>,
        by: f32,
    }

    impl<T: Stored> Elements for Less<'_, T> {
        #[inline(always)]
        unsafe fn at<L: Lanes>(&self, at: usize, channel: usize) {
            // SAFETY: passed on.
            unsafe { self.y.store(at, stream::<L, T>(self.x, at).sub(L::splat(self.by * channel as f32))) }
        }
    }

    /// Numbers from a cache line's first on.
    #[repr(align(64))]
    struct Lines<T>([T; 8192]);

    /// Runs over rows of `row` elements, or over all of them without channels, from element `first` on.
    fn check<T: Stored + PartialEq>(level: Level, row: usize, first: usize, past_caches: bool) {
        let x: Vec<T> = (0..8192).map(|i| T::narrow(if i % 50 == 7 { f32::NAN } else { 0.37 * (i % 97) as f32 })).collect();
        // A vector's elements have the channel of its first.
        let vector = level.tile_columns() / 2;
        let channel = |i: usize| if i < row / vector * vector { i / vector * vector } else { i };
        let len = (8192 - first) / row * row;
        for with_channels in [true, false] {
            let mut lines = Lines([T::narrow(-1.0); 8192]);
            let y = &mut lines.0[first..first + len];
            let out = Out::whole(y, len, row);
            assert_eq!(out.nontemporal, past_caches, "rows of {row} from {first}");
            let less = Less { x: &x[..len], y: out, by: f32::from(u8::from(with_channels)) };
            if with_channels {
                pixels(level, &less, len / row, row)
            } else {
                flat(level, &less, len)
            };
            let expected = |i: usize| T::narrow(x[i].widen() - less.by * channel(i % row) as f32);
            let wrong = (0..len).find(|&i| y[i] != expected(i) && !(y[i].widen().is_nan() && x[i].widen().is_nan()));
            assert_eq!(wrong, None, "rows of {row} from {first} at {level:?}");
            let untouched = lines.0[..first].iter().chain(&lines.0[first + len..]).all(|v| v.widen() == -1.0);
            assert!(untouched, "rows of {row} from {first} at {level:?}");
        }
    }

    #[test]
    fn rows_of_whole_lines_go_past_the_caches() {
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            for (row, first, f32_past, bf16_past) in [
                (16, 0, true, false),
                (32, 0, true, true),
                (64, 32, true, true),
                (24, 0, false, false),
                (32, 8, false, false),
                (33, 0, false, false),
            ] {
                check::<f32>(level, row, first, f32_past);
                check::<bf16>(level, row, first, bf16_past);
            }
        }
    }
}
