//! The geometric transform of one image: an affine map and an elastic displacement, from the input's pixels to the source.
//!
//! With P a point of the input, C its centre, D the elastic displacement and W the centre of the source's window (crop and pad):
//! source = W + F S^-1 H^-1 R^-1 (P - D(P) - T - C) / z, where T shifts, R rotates, H shears, S scales, F flips, and z is the
//! letterbox's scale of the window. D is a uniform cubic B-spline of control points (as in Ronneberger et al. 2015, "U-Net",
//! section 3.1, where random displacements on a coarse grid are interpolated bicubically).

use super::config::AugmentConfig;
use crate::image::letterbox::{Affine, Letterbox};
use crate::ops::augment::Augment;
use crate::random::Philox;
use bytemuck::{Pod, Zeroable};

/// The affine part of one image's transform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// From a point of the input to its point of the source.
    pub map: Affine,
    /// Deviation of the elastic control points, in input pixels.
    pub elastic: f32,
}

impl Transform {
    /// The letterbox alone.
    pub fn letterbox(letterbox: &Letterbox) -> Transform {
        Transform { map: letterbox.source_map(), elastic: 0.0 }
    }

    /// Draws a transform. Takes the same number of random numbers whatever the configuration, so switching one transform off leaves
    /// the others as they are.
    pub fn draw(config: &AugmentConfig, letterbox: &Letterbox, rng: &mut Philox) -> Transform {
        let mut symmetric = |limit: f32| f64::from(limit * (2.0 * rng.uniform() - 1.0));
        let angle = symmetric(config.rotation_degrees).to_radians();
        let shear = libm::tan(symmetric(config.shear_degrees).to_radians());
        let shift = [symmetric(config.translation), symmetric(config.translation)];
        let place = [symmetric(1.0), symmetric(1.0)];
        let scale = f64::from(rng.range(config.scale[0], config.scale[1]));
        let window = f64::from(1.0 + rng.range(-config.crop, config.pad));
        let flips = [config.flip_horizontal, config.flip_vertical].map(|p| if rng.uniform() < p { -1.0 } else { 1.0 });
        let elastic = rng.uniform() * config.elastic_amplitude;

        let z = 1.0 / (letterbox.scale / window * scale);
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        // The inverse of a rotation is its transpose, of a shear by h one by -h.
        let (fx, fy) = (flips[0] * z, flips[1] * z);
        let (a, b) = (fx * (cos + shear * sin), fx * (sin - shear * cos));
        let (c, d) = (fy * -sin, fy * cos);
        let origin = [0, 1].map(|axis| letterbox.input[axis] as f64 * (0.5 + shift[axis]));
        let centre = [0, 1].map(|axis| letterbox.source[axis] as f64 / 2.0 * (1.0 + place[axis] * (1.0 - window).abs()));
        let x = centre[0] - (a * origin[0] + b * origin[1]);
        let y = centre[1] - (c * origin[0] + d * origin[1]);
        Transform { map: Affine([a, b, x, c, d, y]), elastic }
    }
}

/// Draws the control points [2, rows, columns] of the elastic displacement: deviations in x, then in y. Normal, cut at 2.5 deviations so
/// that no draw folds the picture.
pub(super) fn draw_control(deviation: f32, control: &mut [f32], rng: &mut Philox) {
    control.iter_mut().for_each(|c| *c = deviation * rng.normal().clamp(-2.5, 2.5));
}

/// What one place takes of the control points: the first of four, and their weights.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Tap {
    first: u32,
    weights: [f32; 4],
}

/// The taps of all columns.
pub(super) fn spline_taps(spacing: f32, taps: &mut [Tap]) {
    taps.iter_mut().enumerate().for_each(|(x, tap)| *tap = spline_tap(x, spacing));
}

/// Moves the source points `[xs, ys]` of row `y` by the displacement, through the linear part of `map`. `line` is a buffer for two rows of
/// control points.
pub(super) fn displace(
    augment: &Augment,
    control: &[f32],
    map: &Affine,
    y: usize,
    line: &mut [f32],
    taps: &[Tap],
    [xs, ys]: [&mut [f32]; 2],
) {
    let [rows, columns] = augment.control();
    let Tap { first, weights } = spline_tap(y, augment.spacing);
    assert!(first as usize + 4 <= rows, "row {y} of an elastic grid with {rows} rows");
    for (line, control) in line.chunks_exact_mut(columns).zip(control.chunks_exact(rows * columns)) {
        line.fill(0.0);
        let rows = control[first as usize * columns..].chunks_exact(columns);
        for (row, weight) in rows.zip(weights) {
            line.iter_mut().zip(row).for_each(|(sum, c)| *sum += weight * c);
        }
    }
    let [a, b, _, c, d, _] = map.0.map(|m| m as f32);
    let (line_x, line_y) = line.split_at(columns);
    for ((x, y), Tap { first, weights: w }) in xs.iter_mut().zip(ys).zip(taps) {
        let at = *first as usize..*first as usize + 4;
        let dot = |p: &[f32]| (p[0] * w[0] + p[1] * w[1]) + (p[2] * w[2] + p[3] * w[3]);
        let (dx, dy) = (dot(&line_x[at.clone()]), dot(&line_y[at]));
        *x -= a * dx + b * dy;
        *y -= c * dx + d * dy;
    }
}

/// The uniform cubic B-spline at the centre of a pixel.
fn spline_tap(pixel: usize, spacing: f32) -> Tap {
    let t = (pixel as f32 + 0.5) / spacing;
    let first = t as u32;
    let t = t - first as f32;
    let s = 1.0 - t;
    let weights = [s * s * s, (3.0 * t - 6.0) * t * t + 4.0, (3.0 * s - 6.0) * s * s + 4.0, t * t * t].map(|w: f32| w / 6.0);
    Tap { first, weights }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splines_sum_to_one_and_reproduce_constants() {
        for pixel in 0..100 {
            let Tap { weights, .. } = spline_tap(pixel, 17.5);
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        let augment = Augment { height: 40, width: 50, spacing: 16.0 };
        let points: usize = augment.control().iter().product();
        let control: Vec<f32> = (0..2 * points).map(|i| if i < points { 2.0 } else { -1.0 }).collect();
        let map = Affine([0.5, 0.0, 0.0, 0.0, 0.5, 0.0]);
        let (mut xs, mut ys) = (vec![0.0; 50], vec![0.0; 50]);
        let (mut line, mut taps) = (vec![0.0; 2 * augment.control()[1]], vec![Tap::zeroed(); 50]);
        spline_taps(augment.spacing, &mut taps);
        displace(&augment, &control, &map, 39, &mut line, &taps, [&mut xs, &mut ys]);
        assert!(xs.iter().all(|x| (x + 1.0).abs() < 1e-6) && ys.iter().all(|y| (y - 0.5).abs() < 1e-6));
    }
}
