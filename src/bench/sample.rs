//! Which outputs are compared with a reference: too many to compute all of them in f64.

use super::case::{Convolution, Kind, Pass};
use crate::random::{Philox, Purpose};
use crate::tape::Shape;
use std::collections::BTreeSet;

/// How many outputs of a kernel are judged, if it has so many.
pub const SAMPLES: usize = 4096;

/// Places in the output of a convolution, which is `x`-, `y`- or `w`-shaped: all corners, a quarter on edges, the rest anywhere.
pub fn places(convolution: &Convolution) -> Vec<[usize; 4]> {
    let up = convolution.kind == Kind::ConvTranspose2d;
    let axes = match convolution.pass {
        Pass::Forward => every_index(convolution.y()),
        Pass::DataGrad => every_index(convolution.x()),
        // A weight's gradient is a sum over all pixels: places share channels, of which the reference then makes columns.
        Pass::WeightGrad => weight_axes(convolution.w()),
    };
    choose(&axes, SAMPLES, u32::from(up))
}

fn every_index(shape: Shape) -> [Vec<usize>; 4] {
    shape.0.map(|extent| (0..extent).collect())
}

/// All taps, and as few channels of both sides as give [`SAMPLES`] places.
fn weight_axes(w: Shape) -> [Vec<usize>; 4] {
    let [r, s, ci, co] = w.0;
    let pairs = SAMPLES.div_ceil(r * s);
    let side = (1..).find(|side| side * side >= pairs).unwrap_or(1);
    let n_in = side.max(pairs.div_ceil(co)).min(ci);
    let n_out = pairs.div_ceil(n_in).min(co);
    [(0..r).collect(), (0..s).collect(), spread(ci, n_in), spread(co, n_out)]
}

/// `n` different indices below `extent`, the first and the last among them, in order.
fn spread(extent: usize, n: usize) -> Vec<usize> {
    let mut random = Philox::new(1, extent as u32, n as u32, Purpose::Bench);
    let mut chosen: BTreeSet<usize> = [0, extent - 1].into();
    while chosen.len() < n {
        chosen.insert(random.below(extent));
    }
    chosen.into_iter().collect()
}

fn choose(axes: &[Vec<usize>; 4], n: usize, seed: u32) -> Vec<[usize; 4]> {
    let extents = [0, 1, 2, 3].map(|axis| axes[axis].len());
    let place = |at: [usize; 4]| [0, 1, 2, 3].map(|axis| axes[axis][at[axis]]);
    let len: usize = extents.iter().product();
    if len <= n {
        let [_, e1, e2, e3] = extents;
        return (0..len).map(|i| place([i / (e1 * e2 * e3), i / (e2 * e3) % e1, i / e3 % e2, i % e3])).collect();
    }
    let mut random = Philox::new(2, seed, len as u32, Purpose::Bench);
    let end = |axis: usize, high: bool| if high { extents[axis] - 1 } else { 0 };
    let corner = |bits: usize| [0, 1, 2, 3].map(|axis| end(axis, bits >> axis & 1 == 1));
    let mut chosen: BTreeSet<[usize; 4]> = (0..16).map(|bits| place(corner(bits))).collect();
    while chosen.len() < n {
        let mut at = extents.map(|extent| random.below(extent));
        if chosen.len() < n / 4 {
            let axis = random.below(4);
            at[axis] = end(axis, random.below(2) == 1);
        }
        chosen.insert(place(at));
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convolution(pass: Pass, kernel: usize, size: usize, ci: usize, co: usize) -> Convolution {
        let (kind, channels_in) = (if kernel == 2 { Kind::ConvTranspose2d } else { Kind::Conv2d }, [ci, 0]);
        Convolution { kind, pass, kernel, n: 8, height: size, width: size, channels_in, channels_out: co, half: true }
    }

    /// 4,096 different places within the output, all sixteen corners among them.
    #[test]
    fn corners_are_among_4096_different_places() {
        for (pass, kernel, size, ci, co) in [
            (Pass::Forward, 3, 512, 128, 64),
            (Pass::Forward, 2, 32, 1024, 512),
            (Pass::DataGrad, 3, 32, 512, 1024),
            (Pass::WeightGrad, 3, 512, 64, 64),
            (Pass::WeightGrad, 2, 32, 1024, 512),
            (Pass::WeightGrad, 1, 512, 128, 64),
        ] {
            let c = convolution(pass, kernel, size, ci, co);
            let shape = [c.y(), c.x(), c.w()][pass as usize].0;
            let places = places(&c);
            let different: BTreeSet<[usize; 4]> = places.iter().copied().collect();
            assert_eq!((places.len(), different.len()), (SAMPLES, SAMPLES), "{c:?}");
            assert!(places.iter().all(|place| place.iter().zip(shape).all(|(&i, extent)| i < extent)), "{c:?}");
            for bits in 0..16 {
                let corner = [0, 1, 2, 3].map(|axis| if bits >> axis & 1 == 1 { shape[axis] - 1 } else { 0 });
                assert!(different.contains(&corner), "{corner:?} of {c:?}");
            }
            let on_edge =
                |place: &&[usize; 4]| place[1] == 0 || place[2] == 0 || place[1] == shape[1] - 1 || place[2] == shape[2] - 1;
            assert!(places.iter().filter(on_edge).count() > 256, "{c:?}");
        }
    }

    /// Few outputs are judged all.
    #[test]
    fn small_outputs_are_judged_whole() {
        let weights = |kernel, ci, co| places(&convolution(Pass::WeightGrad, kernel, 512, ci, co));
        assert_eq!(weights(3, 1, 64).len(), 9 * 64);
        assert_eq!(weights(1, 64, 1).len(), 64);
        let forward = places(&convolution(Pass::Forward, 3, 4, 2, 3));
        let different: BTreeSet<[usize; 4]> = forward.iter().copied().collect();
        assert_eq!((forward.len(), different.len()), (8 * 16 * 3, 8 * 16 * 3));
    }

    /// The reference makes a column of every channel that a sampled weight needs: they have to be few.
    #[test]
    fn weights_share_channels() {
        let places = places(&convolution(Pass::WeightGrad, 3, 512, 1024, 512));
        let channels = |axis: usize| places.iter().map(|place| place[axis]).collect::<BTreeSet<usize>>().len();
        assert!(channels(2) <= 24 && channels(3) <= 24, "{} {}", channels(2), channels(3));
    }
}
