//! Panels of images, in which the innermost loop of a weight gradient reads in order.

use super::{Shared, Sizes};
use rayon::prelude::*;

/// Packs rows of x into panels: `[block][row][pixel][tile_rows]`.
pub(super) fn pack_x(sizes: Sizes, images: [&[f32]; 2], channels: [usize; 2], rows: std::ops::Range<usize>, panels: &mut [f32]) {
    let (width, tile, w) = (sizes.level.tile_rows(), sizes.x_panel(), sizes.x.w());
    assert!(panels.len() >= sizes.ci_blocks() * tile && rows.len() * w * width <= tile, "room for the panels of x");
    let out = Shared(panels.as_mut_ptr());
    let first = rows.start;
    rows.into_par_iter().with_max_len(1).for_each(|row| {
        for block in 0..sizes.ci_blocks() {
            let range = sizes.ci_range(block);
            for (image, from) in [(0, 0), (1, channels[0])] {
                // The block's channels that come from this image.
                let (start, end) = (range.start.max(from), range.end.min(from + channels[image]));
                if start < end {
                    let source = &images[image][row * w * channels[image]..][..w * channels[image]];
                    // SAFETY: this task owns the row of every panel; the room was checked above.
                    let out = unsafe { out.at(block * tile + (row - first) * w * width + start - range.start) };
                    // SAFETY: as above.
                    unsafe { copy_columns(source, channels[image], start - from, end - start, out, width) };
                }
            }
        }
    });
}

/// Packs rows of dy into panels: `[tap set][block][row][pixel][tile_columns]`.
pub(super) fn pack_dy(sizes: Sizes, dy: &[f32], rows: std::ops::Range<usize>, panels: &mut [f32]) {
    let (width, tile, w, co) = (sizes.level.tile_columns(), sizes.dy_panel(), sizes.x.w(), sizes.co);
    assert!(
        panels.len() >= sizes.dy_sets() * sizes.co_blocks() * tile && rows.len() * w * width <= tile,
        "room for the panels of dy"
    );
    let out = Shared(panels.as_mut_ptr());
    let first = rows.start;
    rows.into_par_iter().with_max_len(1).for_each(|row| {
        for set in 0..sizes.dy_sets() {
            // Where the set's pixels of this row begin in dy, and how far apart they lie.
            let (start, step) = if sizes.taps.shift { (row * w, 1) } else { ((2 * row + set / 2) * 2 * w + set % 2, 2) };
            for block in 0..sizes.co_blocks() {
                let channel = block * width;
                let valid = width.min(co - channel);
                let source = &dy[start * co..][..((w - 1) * step + 1) * co];
                let at = (set * sizes.co_blocks() + block) * tile + (row - first) * w * width;
                // SAFETY: this task owns the row of every panel; the room was checked above.
                unsafe {
                    if valid < width {
                        out.at(at).write_bytes(0, w * width);
                    }
                    copy_columns(source, step * co, channel, valid, out.at(at), width);
                }
            }
        }
    });
}

/// Copies `n` channels from `channel` on of each pixel (`stride` floats apart) to places `width` floats apart.
///
/// # Safety
/// `out` must have room for all pixels.
unsafe fn copy_columns(source: &[f32], stride: usize, channel: usize, n: usize, out: *mut f32, width: usize) {
    // SAFETY: passed on.
    unsafe {
        match n {
            4 => copy_fixed::<4>(source, stride, channel, out, width),
            5 => copy_fixed::<5>(source, stride, channel, out, width),
            6 => copy_fixed::<6>(source, stride, channel, out, width),
            8 => copy_fixed::<8>(source, stride, channel, out, width),
            11 => copy_fixed::<11>(source, stride, channel, out, width),
            12 => copy_fixed::<12>(source, stride, channel, out, width),
            16 => copy_fixed::<16>(source, stride, channel, out, width),
            32 => copy_fixed::<32>(source, stride, channel, out, width),
            _ => {
                for (i, pixel) in source.chunks(stride).enumerate() {
                    let pixel = &pixel[channel..channel + n];
                    std::ptr::copy_nonoverlapping(pixel.as_ptr(), out.add(i * width), n);
                }
            }
        }
    }
}

/// [`copy_columns`] with a length that the compiler knows.
#[inline(always)]
unsafe fn copy_fixed<const C: usize>(source: &[f32], stride: usize, channel: usize, out: *mut f32, width: usize) {
    for (i, pixel) in source.chunks(stride).enumerate() {
        let pixel: &[f32; C] = pixel[channel..channel + C].try_into().expect("C floats");
        // SAFETY: passed on.
        unsafe { out.add(i * width).cast::<[f32; C]>().write_unaligned(*pixel) };
    }
}
