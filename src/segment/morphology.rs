//! Erosion and dilation by an exact Euclidean disc: a pixel's neighbourhood of radius r is all (dx, dy) with dx^2 + dy^2 <= r^2.
//!
//! What lies beyond the border of the picture is unknown and takes nothing away: it adds nothing in a dilation, and an erosion eats
//! only from background that is in the picture, so an object cut by the border keeps its cut edge. With this convention the two are
//! adjoint, so opening and closing are idempotent, and opening takes away only, closing adds only.
//!
//! A dilation is the union of the picture shifted by each (dx, dy) of the disc. That is O(radius^2) a pixel, but a shifted row is
//! joined to another by plain byte operations, 32 pixels at a time: for the radii in use (1 to 5) a distance transform is slower.

use crate::geometry::Mask;

/// All pixels within `radius` of a set pixel.
pub fn dilate(mask: &Mask, radius: usize) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    let mut pixels = mask.pixels().to_vec();
    for (y, row) in mask.pixels().chunks_exact(width.max(1)).enumerate() {
        // Rows without objects are common, and have nothing to give.
        if row.iter().all(|&p| p == 0) {
            continue;
        }
        for other in y.saturating_sub(radius)..(y + radius + 1).min(height) {
            let dy = y.abs_diff(other);
            let reach = (radius * radius - dy * dy).isqrt().min(width - 1);
            let out = &mut pixels[other * width..(other + 1) * width];
            join(out, row);
            for dx in 1..=reach {
                join(&mut out[dx..], row);
                join(out, &row[dx..]);
            }
        }
    }
    Mask::from_pixels(width, height, pixels)
}

/// Sets in `out` what is set in `row`, as far as both go.
fn join(out: &mut [u8], row: &[u8]) {
    out.iter_mut().zip(row).for_each(|(out, &p)| *out |= p);
}

/// All set pixels that are further than `radius` from every pixel of the background.
pub fn erode(mask: &Mask, radius: usize) -> Mask {
    complement(&dilate(&complement(mask), radius))
}

/// Erosion, then dilation: removes what is thinner than the disc.
pub fn open(mask: &Mask, radius: usize) -> Mask {
    dilate(&erode(mask, radius), radius)
}

/// Dilation, then erosion: fills gaps that the disc does not fit into.
pub fn close(mask: &Mask, radius: usize) -> Mask {
    erode(&dilate(mask, radius), radius)
}

fn complement(mask: &Mask) -> Mask {
    Mask::from_pixels(mask.width(), mask.height(), mask.pixels().iter().map(|p| 1 - p).collect())
}
