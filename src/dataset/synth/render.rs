//! A section of the scene as an ultrasound picture, with the organs' masks.
//!
//! The picture is computed at twice its resolution. Every point has an echogenicity by its tissue. Scatterers are complex Gaussian
//! numbers, blurred by the probe's point spread (wider across the beam than along it), so that their amplitude is
//! Rayleigh-distributed: speckle (Wagner et al. 1983, "Statistics of speckle in ultrasound B-scans"). The beam loses energy with
//! depth and behind bone. The amplitude is compressed logarithmically to grey levels.

use super::scene::{Fetus, Litter, Look, N_ANGLES, Plane};
use crate::geometry::Mask;
use crate::image::Gray;
use crate::image::letterbox::area_average;
use crate::random::{Philox, Purpose};

/// The organs, in the order of the masks.
pub const ORGANS: [&str; 3] = ["heart", "liver", "placenta"];

/// A section that shows less of an organ than this share of the picture's pixels shows none: nobody would outline it. Of a placenta,
/// ten times a liver's size, the slivers between two sacs are not outlined either.
const SMALLEST_SHARE: [f64; 3] = [0.006, 0.006, 0.02];

/// One sub-image with the masks of its organs.
pub struct Picture {
    /// 8-bit intensities.
    pub image: Gray,
    /// For each organ of [`ORGANS`] the instances in view.
    pub organs: [Vec<Mask>; 3],
    /// Fetuses in view.
    pub n_fetuses: usize,
}

/// Draws angle `angle` of a litter in `size` x `size` pixels.
pub fn picture(litter: &Litter, seed: u64, series: u32, angle: usize, size: usize) -> Picture {
    let plane = litter.plane(angle);
    let organs = masks(litter, &plane, size);
    let fine = 2 * size;
    let mut rng = Philox::new(seed, 1 + angle as u32, series, Purpose::Synth);
    let mut echo = vec![0.0; fine * fine];
    let mut opacity = vec![0.0; fine * fine];
    let waves = Waves::draw(seed, series);
    for (i, (echo, opacity)) in echo.iter_mut().zip(&mut opacity).enumerate() {
        let (u, v) = (((i % fine) as f32 + 0.5) / fine as f32, ((i / fine) as f32 + 0.5) / fine as f32);
        (*echo, *opacity) = tissue(litter, &organs, &plane, &waves, u, v, size);
    }
    let beam = transmission(&litter.look, &opacity, fine, &mut rng);
    let amplitude = speckle(fine, &mut rng);
    for ((echo, beam), amplitude) in echo.iter_mut().zip(&beam).zip(&amplitude) {
        *echo = compress(&litter.look, *echo * beam * amplitude + 0.004 * rng.uniform());
    }
    let mut image = area_average(&Gray::new(fine, fine, echo), size, size);
    image.pixels.iter_mut().for_each(|p| *p = (*p * 255.0).round().clamp(0.0, 255.0));
    let n_fetuses = litter.n_in_view(&plane);
    Picture { image, organs: organs.map(|of| of.into_iter().flatten().collect()), n_fetuses }
}

/// For each organ and each fetus the mask that the plane cuts, as far as nothing hides it and enough of it is there.
fn masks(litter: &Litter, plane: &Plane, size: usize) -> [Vec<Option<Mask>>; 3] {
    let n = litter.fetuses.len();
    let mut masks: [Vec<Mask>; 3] = [0, 1, 2].map(|_| vec![Mask::new(size, size); n]);
    for i in 0..size * size {
        let (x, y) = (i % size, i / size);
        let point = plane.at((x as f32 + 0.5) / size as f32, (y as f32 + 0.5) / size as f32);
        if let Some((organ, fetus)) = organ_at(&litter.fetuses, point) {
            masks[organ][fetus].set(x, y, true);
        }
    }
    let visible = |organ: usize| {
        let smallest = (SMALLEST_SHARE[organ] * (size * size) as f64) as usize;
        let is_outlined = |mask: &Mask| mask.area() >= smallest.max(6);
        masks[organ].iter().map(|mask| Some(largest_part(mask)).filter(is_outlined)).collect()
    };
    [0, 1, 2].map(visible)
}

/// The organ and the fetus that a point belongs to. A body hides every placenta, the first fetus the later ones.
fn organ_at(fetuses: &[Fetus], point: [f32; 3]) -> Option<(usize, usize)> {
    let within = |f: &Fetus| f.body.depth(point) > 0.0 || f.head.depth(point) > 0.0;
    if let Some(i) = fetuses.iter().position(within) {
        let fetus = &fetuses[i];
        let organ = [&fetus.heart, &fetus.liver].into_iter().position(|organ| organ.depth(point) > 0.0);
        return organ.map(|organ| (organ, i));
    }
    fetuses.iter().position(|f| f.placenta.depth(point) > 0.0).map(|i| (2, i))
}

/// The largest part of a mask whose pixels touch by their sides.
fn largest_part(mask: &Mask) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    let mut seen = Mask::new(width, height);
    let mut best: Vec<(usize, usize)> = Vec::new();
    for i in 0..width * height {
        let start = (i % width, i / width);
        if !mask.get(start.0 as i64, start.1 as i64) || seen.get(start.0 as i64, start.1 as i64) {
            continue;
        }
        seen.set(start.0, start.1, true);
        let mut part = vec![start];
        let mut next = 0;
        while let Some(&(x, y)) = part.get(next) {
            next += 1;
            for (x, y) in [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)] {
                if x < width && y < height && mask.get(x as i64, y as i64) && !seen.get(x as i64, y as i64) {
                    seen.set(x, y, true);
                    part.push((x, y));
                }
            }
        }
        if part.len() > best.len() {
            best = part;
        }
    }
    let mut largest = Mask::new(width, height);
    best.into_iter().for_each(|(x, y)| largest.set(x, y, true));
    largest
}

/// Echogenicity and opacity at (u, v) of the picture.
fn tissue(
    litter: &Litter,
    organs: &[Vec<Option<Mask>>; 3],
    plane: &Plane,
    waves: &Waves,
    u: f32,
    v: f32,
    size: usize,
) -> (f32, f32) {
    let point = plane.at(u, v);
    let sharp = 1.0 / size as f32;
    let [maternal, body_level, liver_level, placenta_level] = litter.look.tissue;
    let coarse = waves.coarse(point);
    // The mother: skin, then layered muscle and fat, with bright interfaces.
    let layers = 0.5 + 0.5 * libm::sinf(70.0 * point[1] + 2.5 * waves.slow(point));
    let mut echo = maternal * (0.05 + 0.13 * layers * layers + 0.03 * coarse.max(-1.0));
    let mut opacity = 0.0;
    for fetus in &litter.fetuses {
        let depth = fetus.sac.depth(point);
        if depth > -0.05 {
            mix(&mut echo, 0.012, fetus.sac.presence(point, depth, 2.0 * sharp));
            mix(&mut echo, 0.55, ring(depth, 1.5 * sharp));
        }
    }
    for (fetus, _) in litter.fetuses.iter().zip(&organs[2]).filter(|(_, mask)| mask.is_some()) {
        let depth = fetus.placenta.depth(point);
        if depth > -0.06 {
            // Lobes: bright septa around darker lakes, coarse enough to see through the speckle.
            let lobes = 0.65 + 0.35 * coarse;
            mix(&mut echo, placenta_level * lobes.max(0.05), fetus.placenta.presence(point, depth, sharp));
        }
    }
    // Bodies hide placentas, and the first fetus the later ones: so it is drawn last.
    for (i, fetus) in litter.fetuses.iter().enumerate().rev() {
        let depth = fetus.body.depth(point);
        if depth > -0.06 {
            let fibres = 1.0 + 0.25 * coarse;
            mix(&mut echo, 0.24 * body_level * fibres, fetus.body.presence(point, depth, sharp));
            mix(&mut echo, 0.6, 0.8 * ring(depth - 1.5 * sharp, 1.2 * sharp));
        }
        head(fetus, point, sharp, &mut echo, &mut opacity);
        if depth > 0.0 {
            inner_organs(fetus, [&organs[0][i], &organs[1][i]], point, sharp, liver_level, &mut echo);
            spine(fetus, point, sharp, &mut echo, &mut opacity);
        }
    }
    (echo, opacity)
}

/// The skull, bright and opaque, with a dark brain.
fn head(fetus: &Fetus, point: [f32; 3], sharp: f32, echo: &mut f32, opacity: &mut f32) {
    let depth = fetus.head.depth(point);
    if depth > -0.05 {
        mix(echo, 0.10, fetus.head.presence(point, depth, sharp));
        let skull = ring(depth - 1.5 * sharp, 1.5 * sharp);
        mix(echo, 1.1, skull);
        *opacity = opacity.max(skull);
    }
}

/// The liver, even and darker than the body around it; the heart, a bright wall around dark chambers.
fn inner_organs(fetus: &Fetus, visible: [&Option<Mask>; 2], point: [f32; 3], sharp: f32, liver_level: f32, echo: &mut f32) {
    if visible[1].is_some() {
        let depth = fetus.liver.depth(point);
        mix(echo, 0.07 * liver_level, fetus.liver.presence(point, depth, sharp));
        mix(echo, 0.3, 0.5 * ring(depth, sharp));
    }
    if visible[0].is_some() {
        let depth = fetus.heart.depth(point);
        mix(echo, 1.1, fetus.heart.presence(point, depth, sharp));
        // Two chambers with a septum between them.
        let [x, y, z] = fetus.heart.local(point);
        let chamber = |middle: f32| {
            let y = (y - middle) / 0.29;
            let (x, z) = (x / 0.7, z / 0.82);
            ((1.0 - (x * x + y * y + z * z).sqrt()) * 0.29 * fetus.heart.radii[1] / sharp + 0.5).clamp(0.0, 1.0)
        };
        mix(echo, 0.015, chamber(-0.38).max(chamber(0.38)));
    }
}

/// Vertebrae: bright, opaque beads along the back.
fn spine(fetus: &Fetus, point: [f32; 3], sharp: f32, echo: &mut f32, opacity: &mut f32) {
    let [x, y, z] = fetus.body.local(point);
    let from_line = ((y + 0.78 - 0.25 * x * x).powi(2) + z * z).sqrt() * fetus.body.radii[1];
    let bead = 0.6 + 0.4 * libm::sinf(24.0 * x);
    let bone = ((0.018 - from_line) / sharp + 0.5).clamp(0.0, 1.0) * bead;
    mix(echo, 1.2, bone);
    *opacity = opacity.max(bone);
}

fn mix(echo: &mut f32, with: f32, share: f32) {
    *echo += (with - *echo) * share;
}

/// 1 on a border, falling to 0 within `width` of it.
fn ring(depth: f32, width: f32) -> f32 {
    (1.0 - (depth / width).abs()).max(0.0)
}

/// How much of the beam reaches each point and comes back: attenuation, bone and bad contact at the skin.
fn transmission(look: &Look, opacity: &[f32], fine: usize, rng: &mut Philox) -> Vec<f32> {
    let mut contact = vec![1.0f32; fine];
    for _ in 0..rng.below(3) {
        let (middle, width, depth) = (rng.uniform(), rng.range(0.02, 0.06), rng.range(0.3, 0.7));
        for (x, contact) in contact.iter_mut().enumerate() {
            let t = (x as f32 / fine as f32 - middle) / width;
            *contact *= 1.0 - depth * libm::expf(-t * t);
        }
    }
    let mut beam = vec![0.0; fine * fine];
    let step = 1.0 / fine as f32;
    for (y, (row, opacity)) in beam.chunks_exact_mut(fine).zip(opacity.chunks_exact(fine)).enumerate() {
        let loss = libm::expf(-look.attenuation * y as f32 * step);
        for ((beam, contact), opacity) in row.iter_mut().zip(&mut contact).zip(opacity) {
            *beam = *contact * loss;
            // A beam through 0.03 of bone loses the share `shadow`.
            *contact *= 1.0 - look.shadow * opacity * step / 0.03;
        }
    }
    beam
}

/// The amplitude of blurred complex Gaussian scatterers, with a mean square of 1: Rayleigh-distributed.
fn speckle(fine: usize, rng: &mut Philox) -> Vec<f32> {
    let mut square = vec![0.0; fine * fine];
    for _ in 0..2 {
        let scatterers: Vec<f32> = (0..fine * fine).map(|_| rng.normal()).collect();
        let across = blur(&scatterers, fine, 1, 1.25);
        let field = blur(&across, fine, fine, 0.8);
        square.iter_mut().zip(&field).for_each(|(sum, f)| *sum += 0.5 * f * f);
    }
    square.into_iter().map(f32::sqrt).collect()
}

/// A Gaussian blur of deviation `sigma` along one direction, wrapping around, that keeps the variance of white noise.
fn blur(field: &[f32], fine: usize, stride: usize, sigma: f32) -> Vec<f32> {
    const REACH: usize = 4;
    let weight = |k: usize| libm::expf(-0.5 * ((k as f32 - REACH as f32) / sigma).powi(2));
    let weights: [f32; 2 * REACH + 1] = core::array::from_fn(weight);
    let norm = 1.0 / weights.iter().map(|w| w * w).sum::<f32>().sqrt();
    let at = |i: usize, k: usize| {
        let place = i / stride % fine;
        i - place * stride + (place + fine + k - REACH) % fine * stride
    };
    (0..field.len()).map(|i| norm * weights.iter().enumerate().map(|(k, w)| w * field[at(i, k)]).sum::<f32>()).collect()
}

/// Logarithmic compression: 0 for `dynamic_range` decibels below full scale, 1 at full scale.
fn compress(look: &Look, amplitude: f32) -> f32 {
    let decibels = 20.0 * libm::log10f((look.gain * amplitude).max(1e-6));
    (1.0 + (decibels - 2.0) / look.dynamic_range).clamp(0.0, 1.0)
}

/// A smooth random texture of the whole scene: sums of plane waves, so that neighbouring sections agree.
struct Waves {
    coarse: Vec<([f32; 3], f32)>,
    slow: Vec<([f32; 3], f32)>,
}

impl Waves {
    fn draw(seed: u64, series: u32) -> Waves {
        let mut rng = Philox::new(seed, 1 + N_ANGLES as u32, series, Purpose::Synth);
        let mut waves = |n: usize, number: f32| {
            let wave = |_| ([0, 1, 2].map(|_| number * rng.normal()), rng.range(0.0, core::f32::consts::TAU));
            (0..n).map(wave).collect::<Vec<_>>()
        };
        Waves { coarse: waves(10, 60.0), slow: waves(5, 5.0) }
    }

    /// Grains of about a twentieth of the picture, with a deviation of 1.
    fn coarse(&self, point: [f32; 3]) -> f32 {
        Self::sum(&self.coarse, point)
    }

    /// Bends of about half the picture, with a deviation of 1.
    fn slow(&self, point: [f32; 3]) -> f32 {
        Self::sum(&self.slow, point)
    }

    fn sum(waves: &[([f32; 3], f32)], [x, y, z]: [f32; 3]) -> f32 {
        let sum: f32 = waves.iter().map(|(k, phase)| libm::cosf(k[0] * x + k[1] * y + k[2] * z + phase)).sum();
        sum * (2.0 / waves.len() as f32).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Rayleigh amplitude with a mean square of 1 has a mean of sqrt(pi) / 2, and exceeds r with probability exp(-r^2).
    #[test]
    fn speckle_is_rayleigh_distributed() {
        let amplitude = speckle(256, &mut Philox::new(1, 0, 0, Purpose::Synth));
        let n = amplitude.len() as f32;
        let mean = amplitude.iter().sum::<f32>() / n;
        let square = amplitude.iter().map(|a| a * a).sum::<f32>() / n;
        // A grain covers about 4 pi 1.25 x 0.8 = 12 pixels, so there are about 5,400 independent ones: 4 errors are 0.055 and 0.03.
        assert!((square - 1.0).abs() < 0.055 && (mean - 0.8862).abs() < 0.03, "mean {mean}, square {square}");
        for r in [0.5f32, 1.0, 1.5] {
            let share = amplitude.iter().filter(|&&a| a > r).count() as f32 / n;
            assert!((share - (-r * r).exp()).abs() < 0.03, "{share} of the amplitudes exceed {r}");
        }
    }

    #[test]
    fn bone_casts_a_shadow_and_depth_dims() {
        let look = Look { gain: 1.0, dynamic_range: 40.0, attenuation: 0.5, shadow: 0.5, tissue: [1.0; 4] };
        let mut opacity = vec![0.0; 64 * 64];
        (10..14).for_each(|y| opacity[y * 64 + 20] = 1.0);
        let beam = transmission(&look, &opacity, 64, &mut Philox::new(1, 0, 0, Purpose::Synth));
        assert!(beam[50 * 64 + 40] < beam[5 * 64 + 40]);
        let (above, below) = (beam[5 * 64 + 20] / beam[5 * 64 + 21], beam[50 * 64 + 20] / beam[50 * 64 + 21]);
        assert!(below < 0.6 * above, "{below} of {above}");
    }

    #[test]
    fn the_largest_part_stays() {
        let mut mask = Mask::new(6, 4);
        [(0, 0), (0, 1), (3, 0), (4, 0), (5, 1), (4, 1), (2, 2)].into_iter().for_each(|(x, y)| mask.set(x, y, true));
        let largest = largest_part(&mask);
        assert_eq!(largest.area(), 4);
        assert!(largest.get(3, 0) && largest.get(5, 1) && !largest.get(2, 2), "parts that touch at corners are two");
    }
}
