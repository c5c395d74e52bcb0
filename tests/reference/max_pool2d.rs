//! Max-pooling as in PyTorch's `max_pool2d(x, 2)`: windows of 2x2, an odd last row or column is left out.

use super::{Array, indices};

/// The largest of each window, and where it lies: 2 r + s of the first that is largest. A NaN counts as largest.
pub fn forward(x: &Array) -> [Array; 2] {
    let [n, h, w, c] = x.shape;
    let mut y = Array::zeros([n, h / 2, w / 2, c]);
    let mut argmax = y.clone();
    for index in indices(y.shape) {
        let values = window(x, index);
        let mut best = 0;
        for candidate in 1..4 {
            if values[candidate] > values[best] || (values[candidate].is_nan() && !values[best].is_nan()) {
                best = candidate;
            }
        }
        *y.at_mut(index) = values[best];
        *argmax.at_mut(index) = best as f64;
    }
    [y, argmax]
}

/// The four values of the window of output `index`, row by row.
pub fn window(x: &Array, [n, y, column, c]: [usize; 4]) -> [f64; 4] {
    [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[r, s]| x.at([n, 2 * y + r, 2 * column + s, c]))
}

/// dy where the largest was, 0 elsewhere.
pub fn grad(dy: &Array, argmax: &Array, [h, w]: [usize; 2]) -> Array {
    let [n, _, _, c] = dy.shape;
    let mut dx = Array::zeros([n, h, w, c]);
    for index @ [n, y, x, c] in indices(dy.shape) {
        let place = argmax.at(index) as usize;
        *dx.at_mut([n, 2 * y + place / 2, 2 * x + place % 2, c]) = dy.at(index);
    }
    dx
}
