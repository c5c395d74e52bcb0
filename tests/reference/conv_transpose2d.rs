//! Transposed convolution as in PyTorch's `ConvTranspose2d(ci, co, 2, stride=2)`.

use super::{Array, indices};

/// y[n, 2y + r, 2x + s, co] = b[co] + sum over ci of x[n, y, x, ci] w[r, s, ci, co].
pub fn forward(w: &Array, x: &Array, b: &Array) -> Array {
    let [n, height, width, ci_max] = x.shape;
    Array::from_fn([n, 2 * height, 2 * width, w.shape[3]], |[n, row, column, co]| {
        let source = |ci| x.at([n, row / 2, column / 2, ci]) * w.at([row % 2, column % 2, ci, co]);
        b.data[co] + (0..ci_max).map(source).sum::<f64>()
    })
}

/// The derivative of sum(dy y) by x.
pub fn data_grad(w: &Array, dy: &Array) -> Array {
    let [n, height, width, _] = dy.shape;
    let mut dx = Array::zeros([n, height / 2, width / 2, w.shape[2]]);
    for [n, row, column, co] in indices(dy.shape) {
        for ci in 0..w.shape[2] {
            let product = dy.at([n, row, column, co]) * w.at([row % 2, column % 2, ci, co]);
            *dx.at_mut([n, row / 2, column / 2, ci]) += product;
        }
    }
    dx
}

/// The derivative of sum(dy y) by w.
pub fn weight_grad(dy: &Array, x: &Array) -> Array {
    let mut dw = Array::zeros([2, 2, x.shape[3], dy.shape[3]]);
    for [n, row, column, co] in indices(dy.shape) {
        for ci in 0..x.shape[3] {
            *dw.at_mut([row % 2, column % 2, ci, co]) += x.at([n, row / 2, column / 2, ci]) * dy.at([n, row, column, co]);
        }
    }
    dw
}
