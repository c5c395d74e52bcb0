//! The assignment of instances to channels, against trying all of them.

use super::harness::{Case, Random, check};
use crate::reference::{Array, assign};
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::assign::{Assign, Assignment, MAX_CHANNELS};

struct Data {
    z: Array,
    labels: Array,
    u: Array,
    name: String,
}

/// Random logits; labels up to `n_labels` in stripes and specks, so that some instances are large and some absent.
fn data([n, h, w, k]: [usize; 4], n_labels: usize, reach: f32, seed: u32) -> Data {
    let random = &mut Random::new(seed);
    let z = random.array([n, h, w, k], -reach, reach);
    let noise = random.array([n, h, w, 1], 0.0, 1.0);
    let labels = Array::from_fn([n, h, w, 1], |[n, y, x, _]| {
        let stripe = (y / 2 + n) % (n_labels + 1);
        let speck = (noise.at([n, y, x, 0]) * 4.0 * (n_labels + 1) as f64) as usize;
        if speck <= n_labels { speck as f64 } else { stripe as f64 }
    });
    let u = random.coins([n, h, w, 1], 0.8);
    Data { z, labels, u, name: format!("shape {:?}, {n_labels} labels, reach {reach}, seed {seed}", [n, h, w, k]) }
}

impl Data {
    fn case(&self, assignment: Assignment) -> Case {
        let inputs = vec![self.z.clone(), self.labels.clone(), self.u.clone()];
        Case::exact(format!("{}, {assignment:?}", self.name), Instruction::Assign(Assign { assignment }), inputs)
    }

    /// How much the second best assignment of any image costs more than the best; 0 where two are equal.
    fn margin(&self) -> f64 {
        let margin = |n: usize| {
            let costs = assign::total_costs(&self.z, &self.labels, &self.u, n);
            let mut costs: Vec<f64> = costs.into_iter().map(|(cost, _)| cost).collect();
            costs.sort_by(f64::total_cmp);
            costs.get(1).map_or(f64::INFINITY, |second| second - costs[0])
        };
        (0..self.z.shape[0]).map(margin).fold(f64::INFINITY, f64::min)
    }

    /// Both assignments; the one at least cost where f32 cannot decide otherwise than f64: probabilities are exact to some 1e-7 of what
    /// is summed, and a pixel's weight is never above 1.
    fn check(&self) -> bool {
        check(&self.case(Assignment::Spatial));
        let is_decided = self.margin() > 1e-5;
        if is_decided {
            check(&self.case(Assignment::LeastCost));
        }
        is_decided
    }
}

#[test]
fn hostile_shapes() {
    let shapes = [[1, 1, 1, 1], [3, 1, 1, 3], [1, 5, 7, 2], [3, 9, 3, 4], [1, 17, 13, 5], [2, 16, 32, 3]];
    let mut n_decided = 0;
    for (seed, shape) in shapes.into_iter().enumerate() {
        for (n_labels, reach) in [(0, 1.0), (1, 3.0), (shape[3], 3.0), (shape[3], 60.0)] {
            n_decided += usize::from(data(shape, n_labels.min(shape[3]), reach, seed as u32).check());
        }
    }
    assert!(n_decided >= 16, "only {n_decided} of 24 cases are decided by more than rounding");
}

/// All 40,320 ways to assign eight instances.
#[test]
fn the_most_channels() {
    let data = data([1, 20, 6, MAX_CHANNELS], MAX_CHANNELS, 3.0, 2);
    assert_eq!(assign::present(0, MAX_CHANNELS, &data.labels, &data.u).len(), MAX_CHANNELS);
    assert!(data.check(), "another seed has no tie");
}

/// Images whose sums are made of several partial ones, the last of them short.
#[test]
fn large_images() {
    for (seed, shape) in [[2, 40, 61, 3], [1, 90, 100, 5]].into_iter().enumerate() {
        let data = data(shape, shape[3], 3.0, seed as u32);
        assert!(data.check(), "another seed has no tie: {}", data.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(shape in [1..4usize, 1..12, 1..12, 1..6], n_labels in 0..6usize, seed: u32) {
        let data = data(shape, n_labels.min(shape[3]), 4.0, seed);
        data.check();
    }
}

/// Channels that answer alike are exact ties, which go to the lowest channel: instance i gets channel i.
#[test]
fn ties_go_to_the_lowest_channel() {
    for k in 1..=4 {
        let mut data = data([2, 9, 5, k], k, 2.0, k as u32);
        let first = data.z.clone();
        data.z = Array::from_fn(first.shape, |[n, y, x, _]| first.at([n, y, x, 0]));
        check(&data.case(Assignment::LeastCost));
        let expected = &data.case(Assignment::LeastCost).expected[0];
        let present: Vec<usize> = assign::present(0, k, &data.labels, &data.u);
        let first_channel = |label: usize| present.iter().position(|&p| p == label);
        for index in crate::reference::indices([1, 9, 5, k]) {
            let label = data.labels.at([0, index[1], index[2], 0]) as usize;
            let is_its = first_channel(label) == Some(index[3]);
            assert_eq!(expected.at(index), f64::from(u8::from(is_its)), "{k} channels at {index:?}");
        }
    }
}

/// Two instances, three channels: the middle channel sees something that is not there and so costs less with any instance than empty
/// ones; what the others would gain decides against it nevertheless.
#[test]
fn what_stays_empty_takes_part() {
    // Four pixels: instance 1, instance 2, and two of background.
    let labels = Array::new([1, 1, 4, 1], vec![1.0, 2.0, 0.0, 0.0]);
    let u = labels.map(|_| 1.0);
    // Channel 0 knows neither instance well; channel 1 is sure of the background; channel 2 likes both.
    let z = Array::new([1, 1, 4, 3], vec![-1.0, -9.0, 5.0, -1.0, -9.0, 6.0, -4.0, 9.0, -9.0, -4.0, 9.0, -9.0]);
    let data = Data { z, labels, u, name: "what stays empty".into() };
    assert!(data.check());
    let target = &data.case(Assignment::LeastCost).expected[0];
    assert_eq!(target.data[..6], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0], "instance 1 in channel 0, instance 2 in channel 2");
}

/// Top to bottom, then left to right; equal centroids by number; and an instance without weight is not there.
#[test]
fn places_in_order() {
    #[rustfmt::skip]
    let labels = Array::new([1, 4, 4, 1], vec![
        0.0, 3.0, 0.0, 1.0,
        0.0, 0.0, 0.0, 0.0,
        2.0, 4.0, 4.0, 2.0,
        5.0, 0.0, 0.0, 0.0,
    ]);
    let u = Array::from_fn([1, 4, 4, 1], |[_, y, _, _]| if y < 3 { 1.0 } else { 0.0 });
    let z = Array::zeros([1, 4, 4, 5]);
    let data = Data { z, labels: labels.clone(), u, name: "places".into() };
    let case = data.case(Assignment::Spatial);
    check(&case);
    let channel = |y, x| (0..5).find(|&k| case.expected[0].at([0, y, x, k]) == 1.0);
    assert_eq!([(0, 1), (0, 3), (2, 0), (2, 1), (3, 0)].map(|(y, x)| channel(y, x)), [Some(0), Some(1), Some(2), Some(3), None]);
}

/// What is no label is background, and padding without weight and without labels gives nothing.
#[test]
fn odd_labels_are_background() {
    let labels = Array::new([1, 1, 5, 1], vec![f64::NAN, -1.0, 3.0, 1e9, 1.0]);
    let data = Data { z: Array::zeros([1, 1, 5, 2]), labels, u: Array::new([1, 1, 5, 1], vec![1.0; 5]), name: "odd".into() };
    for assignment in [Assignment::LeastCost, Assignment::Spatial] {
        let case = data.case(assignment);
        check(&case);
        assert_eq!(case.expected[0].data.iter().sum::<f64>(), 1.0);
    }
}
