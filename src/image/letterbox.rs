//! Letterboxing: a sub-image of any size, scaled to fit the network's input, centred, the rest padding.
//!
//! A point (x, y) of the source (pixel-corner coordinates, see [`crate::geometry`]) lies at (scale x + left, scale y + top) of the
//! input. Padding is excluded from loss and metrics by a weight of 0.
//!
//! Augmentation samples pictures with the same [`Affine`] and the same [`sample_row`], so that a network is trained on exactly
//! the arithmetic that it predicts with.

use super::{Gray, GrayView};
use crate::error::{Error, ErrorKind, Result};
use std::ops::Range;

/// The affine map (x, y) -> (m0 x + m1 y + m2, m3 x + m4 y + m5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [f64; 6]);

impl Affine {
    /// Where the point (x, y) goes.
    pub fn apply(&self, x: f64, y: f64) -> (f64, f64) {
        let m = &self.0;
        (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5])
    }

    /// Where the centres of the pixels (0 .., y) go: one point for each place of `xs` and `ys`.
    pub fn row(&self, y: usize, xs: &mut [f32], ys: &mut [f32]) {
        let m = &self.0;
        let centre = y as f64 + 0.5;
        let (x0, y0) = (m[1] * centre + m[2], m[4] * centre + m[5]);
        for (i, (x, y)) in xs.iter_mut().zip(ys).enumerate() {
            let centre = i as u32 as f64 + 0.5;
            *x = (m[0] * centre + x0) as f32;
            *y = (m[3] * centre + y0) as f32;
        }
    }

    /// The inverse map; `None` if the map collapses the plane.
    pub fn inverse(&self) -> Option<Affine> {
        let [a, b, c, d, e, f] = self.0;
        let determinant = a * e - b * d;
        (determinant.abs() > 1e-12).then(|| {
            let [a, b, d, e] = [e / determinant, -b / determinant, -d / determinant, a / determinant];
            Affine([a, b, -(a * c + b * f), d, e, -(d * c + e * f)])
        })
    }
}

/// The map between a sub-image and the network's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Width and height of the sub-image.
    pub source: [usize; 2],
    /// Width and height of the input.
    pub input: [usize; 2],
    /// Input pixels per source pixel.
    pub scale: f64,
    /// Columns of padding at the left, in input pixels.
    pub left: f64,
    /// Rows of padding at the top, in input pixels.
    pub top: f64,
}

impl Letterbox {
    /// The largest scale at which `source` fits into `input` (both width, height), centred.
    pub fn fit(source: [usize; 2], input: [usize; 2]) -> Self {
        let [sw, sh] = source.map(|s| s as f64);
        let [iw, ih] = input.map(|s| s as f64);
        let scale = (iw / sw).min(ih / sh);
        Letterbox { source, input, scale, left: (iw - scale * sw) / 2.0, top: (ih - scale * sh) / 2.0 }
    }

    /// Whether a sub-image of width and height `source` can be seen in the input at all.
    ///
    /// # Errors
    /// If it is so long and narrow that, scaled to fit, no pixel centre of the input lies in it: every weight would be 0.
    pub fn check(source: [usize; 2], input: [usize; 2]) -> Result<()> {
        let letterbox = Letterbox::fit(source, input);
        if [0, 1].into_iter().all(|axis| !letterbox.inside(axis).is_empty()) {
            return Ok(());
        }
        let ([width, height], [input_width, input_height]) = (source, input);
        let message = format!(
            "a picture of {width} x {height} pixels is narrower than a pixel when fit into {input_width} x {input_height}"
        );
        Err(Error::new(ErrorKind::Data, message).remedy("use a larger input size, or leave the picture out"))
    }

    /// The point of the source that lies at the input's point (x, y).
    pub fn to_source(&self, x: f64, y: f64) -> (f64, f64) {
        ((x - self.left) / self.scale, (y - self.top) / self.scale)
    }

    /// [`Letterbox::to_source`] as a matrix.
    pub fn source_map(&self) -> Affine {
        let step = 1.0 / self.scale;
        let [x, y] = [0, 1].map(|axis| self.source[axis] as f64 / 2.0 - step * (self.input[axis] as f64 / 2.0));
        Affine([step, 0.0, x, 0.0, step, y])
    }

    /// The source at about the input's resolution: averaged over areas where it is finer (sampling it would alias), as it is
    /// elsewhere.
    pub fn content(&self, source: &Gray) -> Gray {
        assert_eq!([source.width, source.height], self.source, "the picture that the letterbox was made for");
        if self.scale >= 1.0 {
            return source.clone();
        }
        let [width, height] = self.content_size();
        area_average(source, width, height)
    }

    /// Width and height of [`Letterbox::content`].
    pub fn content_size(&self) -> [usize; 2] {
        if self.scale >= 1.0 {
            return self.source;
        }
        self.source.map(|s| ((s as f64 * self.scale).round() as usize).max(1))
    }

    /// The picture in the input, row by row: bilinear, averaged over areas where the input is coarser. Padding is 0, so
    /// standardise the picture first.
    pub fn resample_image(&self, source: &Gray) -> Vec<f32> {
        let content = self.content(source);
        let [width, height] = self.input;
        let mut image = vec![0.0; width * height];
        let mut weight = vec![0.0; width];
        let (mut xs, mut ys) = (vec![0.0; width], vec![0.0; width]);
        let map = self.source_map();
        for (y, row) in image.chunks_exact_mut(width).enumerate() {
            map.row(y, &mut xs, &mut ys);
            sample_row(content.view(), self.source, &xs, &ys, row, &mut weight);
        }
        image
    }

    /// 1 where an input pixel's centre lies in the source, 0 on padding; row by row.
    pub fn weight(&self) -> Vec<f32> {
        let [width, height] = self.input;
        let (mut xs, mut ys) = (vec![0.0; width], vec![0.0; width]);
        let map = self.source_map();
        let mut weight = vec![0.0; width * height];
        for (y, row) in weight.chunks_exact_mut(width).enumerate() {
            map.row(y, &mut xs, &mut ys);
            for ((w, &x), &y) in row.iter_mut().zip(&xs).zip(&ys) {
                *w = f32::from(is_inside(self.source, x, y));
            }
        }
        weight
    }

    /// A map of the input's size in the source's pixels: bilinear, never mixed with padding.
    ///
    /// # Panics
    /// If `probability` has not the input's size.
    pub fn resample_probability(&self, probability: &[f32]) -> Vec<f32> {
        let [width, height] = self.input;
        assert_eq!(probability.len(), width * height, "a map of the input's {width} x {height} pixels");
        let [columns, rows] = [(self.left, 0), (self.top, 1)].map(|(margin, axis)| self.taps(margin, axis));
        let mut out = Vec::with_capacity(self.source[0] * self.source[1]);
        for &(y0, y1, ty) in &rows {
            let (upper, lower) = (&probability[y0 * width..][..width], &probability[y1 * width..][..width]);
            out.extend(columns.iter().map(|&(x0, x1, tx)| {
                let a = upper[x0] + (upper[x1] - upper[x0]) * tx;
                let b = lower[x0] + (lower[x1] - lower[x0]) * tx;
                a + (b - a) * ty
            }));
        }
        out
    }

    /// The input's columns (axis 0) or rows (axis 1) whose centres lie in the source: those with a weight of 1.
    fn inside(&self, axis: usize) -> Range<usize> {
        let Affine([x_step, _, x_start, _, y_step, y_start]) = self.source_map();
        let (step, start) = [(x_step, x_start), (y_step, y_start)][axis];
        let size = self.source[axis] as f32;
        let lies_inside = |i: &usize| (0.0..size).contains(&((step * (*i as f64 + 0.5) + start) as f32));
        let first = (0..self.input[axis]).find(lies_inside).unwrap_or(0);
        let n = (first..self.input[axis]).take_while(lies_inside).count();
        first..first + n
    }

    /// For each source pixel along `axis`: the two input pixels around its centre and the second one's share. Pixels of padding,
    /// which the network was never asked about, take no part.
    fn taps(&self, margin: f64, axis: usize) -> Vec<(usize, usize, f32)> {
        let inside = self.inside(axis);
        // Too narrow to be seen (see `check`): the pixel that the picture lies in is all there is.
        let middle = self.input[axis] / 2;
        let (first, last) = if inside.is_empty() { (middle, middle) } else { (inside.start, inside.end - 1) };
        let tap = |i| {
            let at = (self.scale * (i as f64 + 0.5) + margin - 0.5).clamp(first as f64, last as f64);
            let low = at as usize;
            (low, (low + 1).min(last), (at - low as f64) as f32)
        };
        (0..self.source[axis]).map(tap).collect()
    }
}

/// Whether the point (x, y) lies in a picture of this width and height.
pub fn is_inside(size: [usize; 2], x: f32, y: f32) -> bool {
    x >= 0.0 && y >= 0.0 && x < size[0] as f32 && y < size[1] as f32
}

/// Samples a picture at the points (`xs`, `ys`) of its source (of width and height `source`, of which `content` may be a coarser
/// copy): bilinear, and 0 with weight 0 outside.
pub fn sample_row(content: GrayView<'_>, source: [usize; 2], xs: &[f32], ys: &[f32], out: &mut [f32], weight: &mut [f32]) {
    let (width, height) = (content.width, content.height);
    let (x_step, y_step) = (width as f32 / source[0] as f32, height as f32 / source[1] as f32);
    let (x_max, y_max) = ((width - 1) as f32, (height - 1) as f32);
    for (((out, weight), &x), &y) in out.iter_mut().zip(weight).zip(xs).zip(ys) {
        if !is_inside(source, x, y) {
            (*out, *weight) = (0.0, 0.0);
            continue;
        }
        let (u, v) = ((x * x_step - 0.5).clamp(0.0, x_max), (y * y_step - 0.5).clamp(0.0, y_max));
        // A cast by way of i32 is one instruction; the values lie in 0 ..= max.
        let (x0, y0) = (u as i32 as usize, v as i32 as usize);
        let (tx, ty) = (u - x0 as i32 as f32, v - y0 as i32 as f32);
        let right = usize::from(x0 + 1 < width);
        let upper = y0 * width + x0;
        let lower = if y0 + 1 < height { upper + width } else { upper };
        let p = content.pixels;
        let a = p[upper] + (p[upper + right] - p[upper]) * tx;
        let b = p[lower] + (p[lower + right] - p[lower]) * tx;
        (*out, *weight) = (a + (b - a) * ty, 1.0);
    }
}

/// The picture in fewer pixels, each the mean of the area that it covers.
pub fn area_average(source: &Gray, width: usize, height: usize) -> Gray {
    let columns = shares(source.width, width);
    let rows = shares(source.height, height);
    let mut pixels = vec![0.0; width * height];
    let mut line = vec![0.0f32; source.width];
    for (out, (first, weights)) in pixels.chunks_exact_mut(width).zip(&rows) {
        line.fill(0.0);
        for (row, &share) in source.pixels[first * source.width..].chunks_exact(source.width).zip(weights) {
            line.iter_mut().zip(row).for_each(|(sum, &p)| *sum += share * p);
        }
        for (out, (first, weights)) in out.iter_mut().zip(&columns) {
            *out = line[*first..].iter().zip(weights).map(|(&p, &share)| share * p).sum();
        }
    }
    Gray::new(width, height, pixels)
}

/// For each of `to` equal parts of a line of `from` pixels: its first pixel, and every pixel's share of it.
fn shares(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let step = from as f64 / to as f64;
    let part = |i: usize| {
        let (start, end) = (i as f64 * step, ((i + 1) as f64 * step).min(from as f64));
        let first = start as usize;
        let last = (end.ceil() as usize).clamp(first + 1, from);
        let share = |p: usize| (end.min((p + 1) as f64) - start.max(p as f64)).max(0.0);
        let total: f64 = (first..last).map(share).sum();
        (first, (first..last).map(|p| (share(p) / total) as f32).collect())
    };
    (0..to).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Gray {
        let pixels = (0..width * height).map(|i| (i % width) as f32 + 0.5 * (i / width) as f32).collect();
        Gray::new(width, height, pixels)
    }

    #[test]
    fn points_go_there_and_back() {
        let letterbox = Letterbox::fit([100, 60], [256, 256]);
        assert_eq!((letterbox.left, letterbox.top), (0.0, 51.2));
        let (x, y) = letterbox.to_source(2.56 * 12.25, 2.56 * 33.0 + 51.2);
        assert!((x - 12.25).abs() < 1e-12 && (y - 33.0).abs() < 1e-12);
        let (x, y) = letterbox.source_map().apply(31.0, 200.0);
        let (expected_x, expected_y) = letterbox.to_source(31.0, 200.0);
        assert!((x - expected_x).abs() < 1e-9 && (y - expected_y).abs() < 1e-9);
        let inverse = letterbox.source_map().inverse().expect("a scaling has an inverse");
        let (x, y) = inverse.apply(x, y);
        assert!((x - 31.0).abs() < 1e-9 && (y - 200.0).abs() < 1e-9);
    }

    #[test]
    fn same_size_changes_nothing() {
        let picture = ramp(24, 16);
        let letterbox = Letterbox::fit([24, 16], [24, 16]);
        assert_eq!(letterbox.resample_image(&picture), picture.pixels);
        assert_eq!(letterbox.resample_probability(&picture.pixels), picture.pixels);
        assert!(letterbox.weight().iter().all(|&w| w == 1.0));
    }

    #[test]
    fn weight_is_one_where_centres_lie_in_the_picture() {
        let letterbox = Letterbox::fit([30, 20], [32, 32]);
        let weight = letterbox.weight();
        for (i, &w) in weight.iter().enumerate() {
            let (x, y) = letterbox.to_source((i % 32) as f64 + 0.5, (i / 32) as f64 + 0.5);
            let inside = (0.0..30.0).contains(&x) && (0.0..20.0).contains(&y);
            assert_eq!(w, f32::from(inside), "pixel {i}");
        }
        // The scale is 32 / 30, so 21.33 of the 32 rows lie in the picture: the centres of 22, from 5.33 to 26.67.
        assert_eq!(weight.iter().sum::<f32>(), 32.0 * 22.0);
    }

    /// Predictions are read from exactly the pixels that were trained with a weight of 1: poison on the others is never seen, and
    /// the outermost of them are.
    #[test]
    fn maps_are_read_where_the_weight_is_one() {
        for (source, input) in [([30, 20], [32, 32]), ([33, 77], [64, 64]), ([100, 60], [256, 256]), ([500, 31], [64, 48])] {
            let letterbox = Letterbox::fit(source, input);
            let weight = letterbox.weight();
            let poisoned: Vec<f32> = weight.iter().map(|&w| if w == 1.0 { 0.5 } else { f32::NAN }).collect();
            let map = letterbox.resample_probability(&poisoned);
            assert!(map.iter().all(|&p| p == 0.5), "{source:?} in {input:?}");
            for axis in [0, 1] {
                let inside = letterbox.inside(axis);
                let taps = letterbox.taps([letterbox.left, letterbox.top][axis], axis);
                let (first, last) = (taps[0], taps[taps.len() - 1]);
                assert!(letterbox.scale < 1.0 || (first.0, last.1) == (inside.start, inside.end - 1), "{source:?} in {input:?}");
            }
        }
    }

    #[test]
    fn pictures_that_vanish_are_refused() {
        let error = Letterbox::check([3000, 4], [256, 256]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(Letterbox::fit([3000, 4], [256, 256]).weight().iter().all(|&w| w == 0.0));
        let map = Letterbox::fit([3000, 4], [256, 256]).resample_probability(&vec![0.25; 256 * 256]);
        assert!(map.iter().all(|&p| p == 0.25));
        for seen in [[3000, 40], [4, 300], [1, 1], [5000, 5000]] {
            Letterbox::check(seen, [256, 256]).unwrap();
        }
    }

    #[test]
    fn smooth_pictures_come_back() {
        for input in [[64, 64], [96, 128], [48, 32]] {
            let picture = ramp(40, 28);
            let letterbox = Letterbox::fit([40, 28], input);
            let there = letterbox.resample_image(&picture);
            let back = letterbox.resample_probability(&there);
            for (i, (a, b)) in back.iter().zip(&picture.pixels).enumerate() {
                let (x, y) = (i % 40, i / 40);
                let is_middle = (2..38).contains(&x) && (2..26).contains(&y);
                assert!(!is_middle || (a - b).abs() < 0.02, "({x}, {y}) of {input:?}: {a} instead of {b}");
            }
        }
    }

    #[test]
    fn fine_stripes_average_out_instead_of_aliasing() {
        let stripes = Gray::new(256, 256, (0..256 * 256).map(|i| (i % 2) as f32).collect());
        let small = Letterbox::fit([256, 256], [64, 64]).resample_image(&stripes);
        assert!(small.iter().all(|v| (v - 0.5).abs() < 1e-5));
    }

    #[test]
    fn area_average_keeps_the_mean() {
        let picture = ramp(37, 23);
        let small = area_average(&picture, 11, 5);
        let mean = |p: &[f32]| p.iter().map(|&v| f64::from(v)).sum::<f64>() / p.len() as f64;
        assert!((mean(&small.pixels) - mean(&picture.pixels)).abs() < 1e-4);
    }
}
