//! The assignment of instances to channels. Formulas: [`crate::ops::assign`].
//!
//! One task an image. Sums are f64 in order of the pixels; everything but the images lies on the stack.

use super::arena::Operands;
use super::sigmoid::sigmoid;
use crate::ops::assign::{Assignment, MAX_CHANNELS};
use rayon::prelude::*;

/// A number for each channel, or each instance.
type Each<T> = [T; MAX_CHANNELS];

pub(super) fn run(assignment: Assignment, operands: &mut Operands) {
    let shape = operands.input_shape(0);
    let (k, width, pixels) = (shape.c(), shape.w(), shape.h() * shape.w());
    let [z, labels, weight] = [0, 1, 2].map(|i| operands.input(i));
    let images = z.par_chunks(pixels * k).zip(labels.par_chunks(pixels)).zip(weight.par_chunks(pixels));
    operands.output(0).par_chunks_mut(pixels * k).zip(images).with_max_len(1).for_each(|(target, ((z, labels), weight))| {
        let image = Image { z, labels, weight, k, width };
        image.write(image.channels(assignment), target);
    });
}

/// One image: logits [H, W, K], labels and weights [H, W].
struct Image<'a> {
    z: &'a [f32],
    labels: &'a [f32],
    weight: &'a [f32],
    k: usize,
    width: usize,
}

/// What is summed over an instance's pixels.
#[derive(Clone, Copy, Default)]
struct Instance {
    /// sum of u
    weight: f64,
    /// Per channel: sum of u z, sum of u p.
    logits: Each<f64>,
    overlap: Each<f64>,
    /// Pixels, and sums of their rows and columns.
    pixels: u64,
    y: u64,
    x: u64,
}

#[derive(Default)]
struct Sums {
    weight: f64,
    /// Per channel: sum of u p.
    predicted: Each<f64>,
    instances: Each<Instance>,
}

impl Image<'_> {
    /// The instance at a pixel, from 0.
    fn instance(&self, pixel: usize) -> Option<usize> {
        // The conversion makes 0 of NaN and of what is negative.
        let label = self.labels[pixel] as usize;
        (1..=self.k).contains(&label).then(|| label - 1)
    }

    /// The channel of each instance, from 0.
    fn channels(&self, assignment: Assignment) -> Each<Option<usize>> {
        let sums = self.sums(assignment == Assignment::LeastCost);
        let mut present = [0; MAX_CHANNELS];
        let mut n = 0;
        for i in (0..self.k).filter(|&i| sums.instances[i].weight > 0.0) {
            present[n] = i;
            n += 1;
        }
        let present = &mut present[..n];
        let chosen = match assignment {
            Assignment::LeastCost => least_cost(self.k, n, |k, j| sums.gain(k, present[j])),
            Assignment::Spatial => {
                // A stable sort would allocate; with the number as the last key no two are equal.
                present.sort_unstable_by(|&a, &b| sums.instances[a].centroid_order(&sums.instances[b]).then(a.cmp(&b)));
                std::array::from_fn(|j| j)
            }
        };
        let mut channels = [None; MAX_CHANNELS];
        present.iter().zip(chosen).for_each(|(&i, k)| channels[i] = Some(k));
        channels
    }

    /// One pass over the pixels; the network's answer takes part only in the assignment at least cost.
    fn sums(&self, with_answer: bool) -> Sums {
        let mut sums = Sums::default();
        for (pixel, (z, &u)) in self.z.chunks_exact(self.k).zip(self.weight).enumerate() {
            let instance = self.instance(pixel);
            if let Some(i) = instance {
                let (y, x) = (pixel / self.width, pixel % self.width);
                sums.instances[i].add_pixel(u, y, x);
            }
            if with_answer && u != 0.0 {
                sums.add_answer(z, f64::from(u), instance);
            }
        }
        sums
    }

    /// Writes the target.
    fn write(&self, channels: Each<Option<usize>>, target: &mut [f32]) {
        target.fill(0.0);
        for (pixel, target) in target.chunks_exact_mut(self.k).enumerate() {
            if let Some(channel) = self.instance(pixel).and_then(|i| channels[i]) {
                target[channel] = 1.0;
            }
        }
    }
}

impl Sums {
    fn add_answer(&mut self, z: &[f32], u: f64, instance: Option<usize>) {
        self.weight += u;
        for (k, &z) in z.iter().enumerate() {
            let p = u * f64::from(sigmoid(z));
            self.predicted[k] += p;
            if let Some(i) = instance {
                self.instances[i].logits[k] += u * f64::from(z);
                self.instances[i].overlap[k] += p;
            }
        }
    }

    /// What it costs more that channel `k` has instance `i` than that it stays empty.
    fn gain(&self, k: usize, i: usize) -> f64 {
        let (instance, predicted) = (&self.instances[i], self.predicted[k]);
        let dice = (2.0 * instance.overlap[k] + 1.0) / (predicted + instance.weight + 1.0);
        1.0 / (predicted + 1.0) - instance.logits[k] / self.weight - dice
    }
}

impl Instance {
    fn add_pixel(&mut self, u: f32, y: usize, x: usize) {
        self.weight += f64::from(u);
        self.pixels += 1;
        self.y += y as u64;
        self.x += x as u64;
    }

    /// Top to bottom, then left to right. Means are compared by their cross products: no rounding, so ties are ties.
    fn centroid_order(&self, other: &Instance) -> std::cmp::Ordering {
        let compare = |a: u64, b: u64| (u128::from(a) * u128::from(other.pixels)).cmp(&(u128::from(b) * u128::from(self.pixels)));
        compare(self.y, other.y).then(compare(self.x, other.x))
    }
}

/// The channels of `n` instances, each its own, with the least sum of `gain(channel, instance)`; ties to the lowest channels.
fn least_cost(k: usize, n: usize, gain: impl Fn(usize, usize) -> f64) -> Each<usize> {
    let mut least = [0.0f64; 1 << MAX_CHANNELS];
    let mut choice = [0u8; 1 << MAX_CHANNELS];
    let next = |taken: usize| (0..k).filter(move |channel| taken & 1 << channel == 0);
    // A set comes after all sets that contain it.
    for taken in (0..1usize << k).rev() {
        let instance = taken.count_ones() as usize;
        if instance >= n {
            continue;
        }
        let mut best: Option<f64> = None;
        for channel in next(taken) {
            let sum = gain(channel, instance) + least[taken | 1 << channel];
            if best.is_none_or(|best| sum < best) {
                best = Some(sum);
                choice[taken] = channel as u8;
            }
        }
        least[taken] = best.unwrap_or(0.0);
    }
    let mut taken = 0;
    std::array::from_fn(|instance| {
        let channel = usize::from(choice[taken]);
        if instance < n {
            taken |= 1 << channel;
        }
        channel
    })
}
