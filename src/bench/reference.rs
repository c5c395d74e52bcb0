//! Convolutions in f64 at sampled places, and how far a kernel's numbers lie from them. Formulae: `ops/conv2d.rs`, `ops/conv_transpose2d.rs`.

use super::case::{Case, Convolution, Kind, Pass};
use super::data::{Numbers, decode};
use super::sample;
use crate::ops::Instruction;
use crate::tape::{DType, Shape};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// A sum in f64, the sum of the absolute values of its terms, and how many those are.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    value: f64,
    magnitude: f64,
    terms: usize,
}

impl Sum {
    fn add(&mut self, a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        self.value += product;
        self.magnitude += product.abs();
        self.terms += 1;
    }
}

/// The operands of a convolution by their role.
struct Operands {
    convolution: Convolution,
    w: Option<Numbers>,
    x: Vec<Numbers>,
    dy: Option<Numbers>,
    bias: Option<Numbers>,
}

impl Operands {
    fn of(case: &Case) -> Option<Operands> {
        let convolution = case.convolution()?;
        let input = |index| Numbers::of_input(case, index);
        let n_images = 1 + usize::from(convolution.channels_in[1] > 0);
        let has_bias = match &case.instruction {
            Instruction::Conv2d(op) => op.bias,
            Instruction::ConvTranspose2d(_) => true,
            _ => false,
        };
        let images = || (1..=n_images).map(input).collect();
        let (w, x, dy) = match convolution.pass {
            Pass::Forward => (Some(input(0)), images(), None),
            Pass::DataGrad => (Some(input(0)), Vec::new(), Some(input(1))),
            Pass::WeightGrad => (None, images(), Some(input(0))),
        };
        let bias = has_bias.then(|| input(1 + n_images));
        Some(Operands { convolution, w, x, dy, bias })
    }

    /// Of the images as if they were one.
    fn x_at(&self, [n, y, x, ci]: [usize; 4]) -> f32 {
        let first = self.convolution.channels_in[0];
        if ci < first { self.x[0].at_place([n, y, x, ci]) } else { self.x[1].at_place([n, y, x, ci - first]) }
    }

    /// For each tap the pixel of the input that meets pixel (y, x) of the output, where there is one.
    fn input_pixel(&self, [y, x]: [usize; 2], [r, s]: [usize; 2]) -> Option<[usize; 2]> {
        let Convolution { kind, kernel, height, width, .. } = self.convolution;
        match kind {
            Kind::Conv2d => {
                let pad = (kernel - 1) / 2;
                let [y, x] = [(y + r).checked_sub(pad)?, (x + s).checked_sub(pad)?];
                (y < height && x < width).then_some([y, x])
            }
            Kind::ConvTranspose2d => ([y % 2, x % 2] == [r, s]).then_some([y / 2, x / 2]),
        }
    }

    /// For each tap the pixel of the output that meets pixel (y, x) of the input, where there is one.
    fn output_pixel(&self, [y, x]: [usize; 2], [r, s]: [usize; 2]) -> Option<[usize; 2]> {
        let Convolution { kind, kernel, height, width, .. } = self.convolution;
        match kind {
            Kind::Conv2d => {
                let pad = (kernel - 1) / 2;
                let [y, x] = [(y + pad).checked_sub(r)?, (x + pad).checked_sub(s)?];
                (y < height && x < width).then_some([y, x])
            }
            Kind::ConvTranspose2d => Some([2 * y + r, 2 * x + s]),
        }
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> {
        let kernel = self.convolution.kernel;
        (0..kernel * kernel).map(move |tap| [tap / kernel, tap % kernel])
    }

    fn forward(&self, w: &Numbers, [n, y, x, co]: [usize; 4]) -> Sum {
        let mut sum = Sum::default();
        for ([r, s], [y, x]) in self.taps().filter_map(|tap| Some((tap, self.input_pixel([y, x], tap)?))) {
            (0..self.convolution.ci()).for_each(|ci| sum.add(self.x_at([n, y, x, ci]), w.at_place([r, s, ci, co])));
        }
        if let Some(bias) = &self.bias {
            sum.add(bias.at(co), 1.0);
        }
        sum
    }

    fn data_grad(&self, w: &Numbers, dy: &Numbers, [n, y, x, ci]: [usize; 4]) -> Sum {
        let mut sum = Sum::default();
        for ([r, s], [y, x]) in self.taps().filter_map(|tap| Some((tap, self.output_pixel([y, x], tap)?))) {
            (0..self.convolution.channels_out).for_each(|co| sum.add(dy.at_place([n, y, x, co]), w.at_place([r, s, ci, co])));
        }
        sum
    }

    /// For many places at once: one channel of an image is read for many sums.
    fn weight_grads(&self, dy: &Numbers, places: &[[usize; 4]]) -> Vec<Sum> {
        let c = &self.convolution;
        let x_columns = columns(places, 2, c.x(), |place| self.x_at(place));
        let dy_columns = columns(places, 3, c.y(), |place| dy.at_place(place));
        let (height, width) = (c.height, c.width);
        let sum_of = |&[r, s, ci, co]: &[usize; 4]| {
            let (of_x, of_dy) = (&x_columns[&ci], &dy_columns[&co]);
            let mut sum = Sum::default();
            for (n, y) in (0..c.n).flat_map(|n| (0..height).map(move |y| (n, y))) {
                for x in 0..width {
                    if let Some([out_y, out_x]) = self.output_pixel([y, x], [r, s]) {
                        let at = (n * c.y().h() + out_y) * c.y().w() + out_x;
                        sum.add(of_x[(n * height + y) * width + x], of_dy[at]);
                    }
                }
            }
            sum
        };
        places.par_iter().map(sum_of).collect()
    }

    fn sums(&self, places: &[[usize; 4]]) -> Vec<Sum> {
        match (self.convolution.pass, &self.w, &self.dy) {
            (Pass::Forward, Some(w), _) => places.par_iter().map(|&place| self.forward(w, place)).collect(),
            (Pass::DataGrad, Some(w), Some(dy)) => places.par_iter().map(|&place| self.data_grad(w, dy, place)).collect(),
            (Pass::WeightGrad, _, Some(dy)) => self.weight_grads(dy, places),
            _ => unreachable!("a pass has its operands"),
        }
    }
}

/// The channels of an image that `places` name on `axis`, each as one list over all pixels.
fn columns(places: &[[usize; 4]], axis: usize, image: Shape, at: impl Fn([usize; 4]) -> f32 + Sync) -> BTreeMap<usize, Vec<f32>> {
    let mut channels: Vec<usize> = places.iter().map(|place| place[axis]).collect();
    channels.sort_unstable();
    channels.dedup();
    let [_, h, w, _] = image.0;
    let column = |c: usize| (0..image.pixels()).map(|i| at([i / (h * w), i / w % h, i % w, c])).collect();
    channels.into_par_iter().map(|c| (c, column(c))).collect()
}

/// What sampled outputs of a convolution should be.
pub struct Reference {
    convolution: Convolution,
    places: Vec<[usize; 4]>,
    sums: Vec<Sum>,
    biased: Vec<f64>,
}

/// How far outputs lie from the reference.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Verdict {
    /// The largest error, as a part of the largest number.
    pub error: f64,
    /// Whether every error is as small as rounding explains.
    pub within: bool,
    pub samples: usize,
}

impl Reference {
    /// Of a case that is a convolution.
    pub fn of(case: &Case) -> Option<Reference> {
        let operands = Operands::of(case)?;
        let places = sample::places(&operands.convolution);
        let sums = operands.sums(&places);
        let biased = match (&operands.bias, operands.convolution.pass) {
            (Some(bias), Pass::Forward) => places.iter().map(|place| f64::from(bias.at(place[3]))).collect(),
            _ => vec![0.0; places.len()],
        };
        Some(Reference { convolution: operands.convolution, places, sums, biased })
    }

    /// Judges one output, or two images whose channels follow one another, as their bytes lie in memory.
    pub fn judge(&self, outputs: &[(Shape, DType, Vec<u8>)]) -> Verdict {
        self.judge_by(
            |[a, b, c, d]| {
                let (mut channel, mut image) = (d, 0);
                if channel >= outputs[0].0.c() {
                    (channel, image) = (channel - outputs[0].0.c(), 1);
                }
                let (shape, dtype, bytes) = &outputs[image];
                let [_, e1, e2, e3] = shape.0;
                (decode(bytes, *dtype, ((a * e1 + b) * e2 + c) * e3 + channel), *dtype)
            },
            true,
        )
    }

    /// Judges numbers that lie elsewhere: `at` gives the number of a place and the type in which it is stored; `bias`: whether it was added.
    pub fn judge_by(&self, at: impl Fn([usize; 4]) -> (f32, DType), bias: bool) -> Verdict {
        let (mut largest, mut worst, mut within) = (f64::MIN_POSITIVE, 0.0f64, true);
        for ((&place, sum), b) in self.places.iter().zip(&self.sums).zip(&self.biased) {
            let expected = if bias { sum.value } else { sum.value - b };
            let (found, dtype) = at(place);
            let error = (f64::from(found) - expected).abs();
            // No number is worse than any number.
            worst = if error.is_finite() { worst.max(error) } else { f64::INFINITY };
            within &= error <= allowed(sum, expected, dtype);
            largest = largest.max(expected.abs());
        }
        Verdict { error: worst / largest, within, samples: self.places.len() }
    }

    /// Which convolution it is.
    pub fn convolution(&self) -> &Convolution {
        &self.convolution
    }
}

/// Rounding errors of a sum in f32 grow with the square root of its length when they are independent; four of them. And half a unit of the
/// last place of an output that is stored as f16.
fn allowed(sum: &Sum, expected: f64, dtype: DType) -> f64 {
    let of_sum = 4.0 * f64::from(f32::EPSILON) * (sum.terms as f64).sqrt() * sum.magnitude + f64::from(f32::MIN_POSITIVE);
    let of_storage = if dtype == DType::F16 { expected.abs() * 0.5 / 1024.0 + 0.5f64.powi(25) } else { 0.0 };
    1.01 * (of_sum + of_storage)
}

#[cfg(test)]
mod tests;
