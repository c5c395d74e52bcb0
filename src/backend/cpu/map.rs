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
    /// Computes elements `at .. at + N`, which are channels `channel ..` of their pixel.
    ///
    /// # Safety
    /// The CPU has the level; the elements are in bounds, and nobody else computes them.
    unsafe fn at<L: Lanes>(&self, at: usize, channel: usize);
}

/// An output of element-wise work.
#[derive(Clone, Copy)]
pub(super) struct Out<T>(*mut T);

// SAFETY: tasks write distinct elements.
unsafe impl<T: Stored> Send for Out<T> {}
// SAFETY: as above.
unsafe impl<T: Stored> Sync for Out<T> {}

impl<T: Stored> Out<T> {
    /// An output of `len` elements.
    pub fn new(out: &mut [T], len: usize) -> Self {
        assert_eq!(out.len(), len, "an output like the input");
        Out(out.as_mut_ptr())
    }

    /// # Safety
    /// In bounds, and with the level of `L`.
    #[inline(always)]
    pub unsafe fn store<L: Lanes>(self, at: usize, value: L) {
        prefetch_to_write(self.0.wrapping_add(at + AHEAD / size_of::<T>()));
        // SAFETY: passed on.
        unsafe { T::store(value, self.0.add(at)) }
    }

    /// # Safety
    /// In bounds, and with the level of `L`.
    #[inline(always)]
    pub unsafe fn stream<L: Lanes>(self, at: usize) -> L {
        prefetch(self.0.wrapping_add(at + AHEAD / size_of::<T>()));
        // SAFETY: passed on.
        unsafe { T::load(self.0.add(at)) }
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
        unsafe { row::<L, E>(self.elements, self.range.start, self.range.len()) }
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
