//! Augmentation: where each pixel comes from, what lies there, and its noise.

use super::Array;

/// What was drawn for one image.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub map: [f64; 6],
    pub source: [usize; 2],
    pub content: [usize; 2],
    pub seed: u64,
    pub epoch: u32,
    pub image: u32,
    pub gain: f64,
    pub offset: f64,
    pub mean: f64,
    pub factor: f64,
    pub noise: f64,
    pub speckle: f64,
    pub is_elastic: bool,
    pub changes_intensity: bool,
}

/// One image's operands: its content and its labels, row by row; the control points and the table of quantiles for all.
pub struct Picture<'a> {
    pub n: usize,
    pub draw: Draw,
    pub content: &'a Array,
    pub labels: &'a Array,
    pub control: &'a Array,
    pub upper_quantiles: &'a [f64],
    pub spacing: f64,
    /// Of the output.
    pub width: usize,
}

impl Picture<'_> {
    /// Image, target and weight of the pixel in column `x` of row `y`.
    pub fn pixel(&self, y: usize, x: usize) -> [f64; 3] {
        let draw = &self.draw;
        let at = self.source_point(y, x);
        let is_inside = (0..2).all(|axis| 0.0 <= at[axis] && at[axis] < draw.source[axis] as f64);
        let (v, weight) = if is_inside { (self.bilinear(at), 1.0) } else { (0.0, 0.0) };
        let label =
            if is_inside { self.labels.at([self.n, 0, 0, at[1] as usize * draw.source[0] + at[0] as usize]) } else { 0.0 };
        let image = if draw.changes_intensity { weight * self.changed(v, y, x) } else { v };
        if label == 255.0 { [image, 0.0, 0.0] } else { [image, label, weight] }
    }

    /// The point of the source that a pixel's centre shows.
    pub fn source_point(&self, y: usize, x: usize) -> [f64; 2] {
        let m = self.draw.map;
        let (px, py) = (x as f64 + 0.5, y as f64 + 0.5);
        let [dx, dy] = if self.draw.is_elastic { self.displacement(py, px) } else { [0.0; 2] };
        let (px, py) = (px - dx, py - dy);
        [m[0] * px + m[1] * py + m[2], m[3] * px + m[4] * py + m[5]]
    }

    /// The B-spline of all control points, most of which are too far away to count.
    fn displacement(&self, py: f64, px: f64) -> [f64; 2] {
        let [_, _, rows, columns] = self.control.shape;
        [0, 1].map(|axis| {
            let mut sum = 0.0;
            for row in 0..rows {
                for column in 0..columns {
                    // Control point 1 lies at the picture's edge.
                    let distance = |index: usize, p: f64| index as f64 - 1.0 - p / self.spacing;
                    sum += cubic(distance(row, py)) * cubic(distance(column, px)) * self.control.at([self.n, axis, row, column]);
                }
            }
            sum
        })
    }

    fn bilinear(&self, at: [f64; 2]) -> f64 {
        let [width, height] = self.draw.content;
        let place = |axis: usize| {
            let size = self.draw.content[axis] as f64;
            (at[axis] * size / self.draw.source[axis] as f64 - 0.5).clamp(0.0, size - 1.0)
        };
        let hat = |distance: f64| (1.0 - distance.abs()).max(0.0);
        let (u, v) = (place(0), place(1));
        let near = |at: f64, size: usize| at as usize..(at as usize + 2).min(size);
        let mut sum = 0.0;
        for row in near(v, height) {
            for column in near(u, width) {
                let pixel = self.content.at([self.n, 0, 0, row * width + column]);
                sum += hat(u - column as f64) * hat(v - row as f64) * pixel;
            }
        }
        sum
    }

    fn changed(&self, v: f64, y: usize, x: usize) -> f64 {
        let draw = &self.draw;
        let [n1, n2] = self.normals(y, x);
        ((v * draw.gain + draw.offset) * (1.0 + draw.speckle * n1) + draw.noise * n2 - draw.mean) * draw.factor
    }

    /// The two standard normal numbers of a pixel.
    pub fn normals(&self, y: usize, x: usize) -> [f64; 2] {
        let block = y * self.width.div_ceil(4) + x / 4;
        let word = philox([self.draw.epoch, self.draw.image, 7, block as u32], self.draw.seed)[x % 4];
        let quantile = |i: usize| if i < 2048 { -self.upper_quantiles[2047 - i] } else { self.upper_quantiles[i - 2048] };
        [quantile((word % 4096) as usize), quantile((word >> 20) as usize)]
    }
}

/// The cubic B-spline around 0, over four units.
fn cubic(t: f64) -> f64 {
    let t = t.abs();
    match t {
        _ if t < 1.0 => 2.0 / 3.0 - t * t + t * t * t / 2.0,
        _ if t < 2.0 => (2.0 - t).powi(3) / 6.0,
        _ => 0.0,
    }
}

/// Philox 4x32-10, from the paper's table 2 and figure 4.
fn philox(counter: [u32; 4], seed: u64) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    (0..10u32).fold(counter, |[r0, l0, r1, l1], round| {
        let key = [0, 1].map(|i| ((seed >> (32 * i)) as u32).wrapping_add(round.wrapping_mul(WEYL[i])));
        let [p0, p1] = [u64::from(r0) * MULTIPLIERS[0], u64::from(r1) * MULTIPLIERS[1]];
        let high = |p: u64| (p >> 32) as u32;
        [high(p1) ^ l0 ^ key[0], p1 as u32, high(p0) ^ l1 ^ key[1], p0 as u32]
    })
}
