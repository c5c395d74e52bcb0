//! The assignment of an image's instances to channels, by trying all of them.

use super::Array;
use super::elementwise::logistic;

/// Target [N, H, W, K] of the assignment with the least cost. z [N, H, W, K], labels and u [N, H, W, 1].
pub fn at_least_cost(z: &Array, labels: &Array, u: &Array) -> Array {
    target(z.shape[3], labels, |n| {
        // The first of equals; a sum of the same costs in another order is equal.
        let keep_less = |best: (f64, Vec<usize>), other: (f64, Vec<usize>)| if other.0 < best.0 - 1e-12 { other } else { best };
        let best = total_costs(z, labels, u, n).into_iter().reduce(keep_less).expect("there is one");
        present(n, z.shape[3], labels, u).into_iter().zip(best.1).collect()
    })
}

/// Target of the assignment by place.
pub fn spatially(k: usize, labels: &Array, u: &Array) -> Array {
    target(k, labels, |n| {
        let mut present = present(n, k, labels, u);
        // Whole sums over whole counts are compared as fractions.
        let place = |label: usize| {
            let pixels: Vec<[usize; 2]> = pixels(labels).filter(|&[y, x]| labels.at([n, y, x, 0]) == label as f64).collect();
            [0, 1].map(|axis| (pixels.iter().map(|p| p[axis]).sum::<usize>(), pixels.len()))
        };
        let less = |(a, n): (usize, usize), (b, m): (usize, usize)| (a * m).cmp(&(b * n));
        present.sort_by(|&i, &j| {
            let ([y_i, x_i], [y_j, x_j]) = (place(i), place(j));
            less(y_i, y_j).then(less(x_i, x_j)).then(i.cmp(&j))
        });
        present.into_iter().zip(0..).collect()
    })
}

/// Sets the pixels of each (label, channel) of each image to 1.
fn target(k: usize, labels: &Array, assign: impl Fn(usize) -> Vec<(usize, usize)>) -> Array {
    let [n, h, w, _] = labels.shape;
    let assigned: Vec<Vec<(usize, usize)>> = (0..n).map(assign).collect();
    Array::from_fn([n, h, w, k], |[n, y, x, k]| {
        let is_its = |&(label, channel): &(usize, usize)| channel == k && labels.at([n, y, x, 0]) == label as f64;
        if assigned[n].iter().any(is_its) { 1.0 } else { 0.0 }
    })
}

fn pixels(labels: &Array) -> impl Iterator<Item = [usize; 2]> {
    let [_, h, w, _] = labels.shape;
    (0..h).flat_map(move |y| (0..w).map(move |x| [y, x]))
}

/// The labels from 1 to k with weight.
pub fn present(n: usize, k: usize, labels: &Array, u: &Array) -> Vec<usize> {
    let has_weight =
        |label: &usize| pixels(labels).any(|[y, x]| labels.at([n, y, x, 0]) == *label as f64 && u.at([n, y, x, 0]) > 0.0);
    (1..=k).filter(has_weight).collect()
}

/// All ways to give `m` instances a channel of their own out of `k`, in lexicographic order.
fn injections(k: usize, m: usize) -> Vec<Vec<usize>> {
    if m == 0 {
        return vec![Vec::new()];
    }
    let shorter = injections(k, m - 1);
    let longer = |head: &Vec<usize>| -> Vec<Vec<usize>> {
        (0..k).filter(|c| !head.contains(c)).map(|c| [head.clone(), vec![c]].concat()).collect()
    };
    shorter.iter().flat_map(longer).collect()
}

/// The costs of all assignments of image n, with the channels of its instances, in lexicographic order: the sum over all channels, those
/// with an instance and those that have to stay empty.
pub fn total_costs(z: &Array, labels: &Array, u: &Array, n: usize) -> Vec<(f64, Vec<usize>)> {
    let k_max = z.shape[3];
    let present = present(n, k_max, labels, u);
    let of_channel = |k: usize| -> Vec<f64> {
        // Label 0 stands for no instance.
        [0].iter().chain(&present).map(|&label| cost(z, labels, u, [n, k, label])).collect()
    };
    let costs: Vec<Vec<f64>> = (0..k_max).map(of_channel).collect();
    let total = |channels: Vec<usize>| {
        let instance = |k: usize| channels.iter().position(|&c| c == k).map_or(0, |i| i + 1);
        ((0..k_max).map(|k| costs[k][instance(k)]).sum(), channels)
    };
    injections(k_max, present.len()).into_iter().map(total).collect()
}

/// Cross-entropy and Dice of channel k against the instance of this label (0: against nothing).
fn cost(z: &Array, labels: &Array, u: &Array, [n, k, label]: [usize; 3]) -> f64 {
    let [mut entropy, mut weight, mut shared, mut predicted, mut there] = [0.0; 5];
    for [y, x] in pixels(labels) {
        let (z, u) = (z.at([n, y, x, k]), u.at([n, y, x, 0]));
        let t = if label != 0 && labels.at([n, y, x, 0]) == label as f64 { 1.0 } else { 0.0 };
        entropy += u * (t * softplus(-z) + (1.0 - t) * softplus(z));
        weight += u;
        shared += u * logistic(z) * t;
        predicted += u * logistic(z);
        there += u * t;
    }
    let entropy = if weight > 0.0 { entropy / weight } else { 0.0 };
    entropy + 1.0 - (2.0 * shared + 1.0) / (predicted + there + 1.0)
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}
