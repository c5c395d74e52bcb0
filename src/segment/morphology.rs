//! Erosion and dilation by an exact Euclidean disc: a pixel's neighbourhood of radius r is all (dx, dy) with dx^2 + dy^2 <= r^2.
//!
//! What lies beyond the border of the picture is unknown and takes nothing away: it adds nothing in a dilation, and an erosion eats
//! only from background that is in the picture, so an object cut by the border keeps its cut edge. With this convention the two are
//! adjoint, so opening and closing are idempotent, and opening takes away only, closing adds only.
//!
//! Both take O(pixels), whatever the radius: a first pass gives each pixel's distance g to the nearest set pixel of its column;
//! where g <= r, that pixel reaches the floor(sqrt(r^2 - g^2)) pixels to either side in its row.

use crate::geometry::Mask;

/// All pixels within `radius` of a set pixel.
pub fn dilate(mask: &Mask, radius: usize) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    let reach: Vec<usize> = (0..=radius).map(|g| (radius * radius - g * g).isqrt()).collect();
    let distances = column_distances(mask, radius);
    let mut pixels = vec![0; width * height];
    let mut changes = vec![0i32; width + 1];
    for (row, out) in distances.chunks_exact(width.max(1)).zip(pixels.chunks_exact_mut(width.max(1))) {
        changes.fill(0);
        for (x, &g) in row.iter().enumerate().filter(|(_, g)| **g <= radius) {
            changes[x.saturating_sub(reach[g])] += 1;
            changes[(x + reach[g] + 1).min(width)] -= 1;
        }
        let mut depth = 0;
        for (pixel, change) in out.iter_mut().zip(&changes) {
            depth += change;
            *pixel = u8::from(depth > 0);
        }
    }
    Mask::from_pixels(width, height, pixels)
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

/// The distance from each pixel to the nearest set pixel of its column, cut off at `radius` + 1.
fn column_distances(mask: &Mask, radius: usize) -> Vec<usize> {
    let (width, height) = (mask.width(), mask.height());
    let mut distances = vec![radius + 1; width * height];
    let mut nearest = vec![radius + 1; width];
    let mut visit = |y: usize| {
        let row = y * width..(y + 1) * width;
        for ((near, &pixel), distance) in nearest.iter_mut().zip(&mask.pixels()[row.clone()]).zip(&mut distances[row]) {
            *near = if pixel != 0 { 0 } else { (*near + 1).min(radius + 1) };
            *distance = (*distance).min(*near);
        }
    };
    (0..height).for_each(&mut visit);
    // Upwards, the last row's values stand for pixels above themselves: they only repeat what that row holds already, one too far.
    (0..height).rev().for_each(&mut visit);
    distances
}
