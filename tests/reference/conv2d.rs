//! Convolution as in PyTorch's `Conv2d`: cross-correlation, stride 1, zero padding (kernel - 1) / 2.

use super::{Array, concat, indices};

/// y[n, y, x, co] = b[co] + sum over r, s, ci of x[n, y + r - p, x + s - p, ci] w[r, s, ci, co].
pub fn forward(w: &Array, images: &[Array], b: Option<&Array>) -> Array {
    let image = concat::forward(images);
    let [n, height, width, _] = image.shape;
    let co_max = w.shape[3];
    let p = (w.shape[0] as isize - 1) / 2;
    Array::from_fn([n, height, width, co_max], |[n, y, x, co]| {
        let mut sum = b.map_or(0.0, |b| b.data[co]);
        for r in 0..w.shape[0] {
            for s in 0..w.shape[1] {
                for ci in 0..w.shape[2] {
                    let (row, column) = (y as isize + r as isize - p, x as isize + s as isize - p);
                    sum += image.at_padded(n, row, column, ci) * w.at([r, s, ci, co]);
                }
            }
        }
        sum
    })
}

/// The derivative of sum(dy y) by x: every product of the forward pass, sent back to the pixel that it came from.
pub fn data_grad(w: &Array, dy: &Array, channels: [usize; 2]) -> Vec<Array> {
    let [n, height, width, _] = dy.shape;
    let mut dx = Array::zeros([n, height, width, w.shape[2]]);
    for_each_product(w.shape, dy.shape, |[n, y, x, co], [r, s, ci], [row, column]| {
        *dx.at_mut([n, row, column, ci]) += dy.at([n, y, x, co]) * w.at([r, s, ci, co]);
    });
    if channels[1] == 0 { vec![dx] } else { concat::split(&dx, channels) }
}

/// The derivative of sum(dy y) by w.
pub fn weight_grad(kernel: usize, dy: &Array, images: &[Array]) -> Array {
    let image = concat::forward(images);
    let mut dw = Array::zeros([kernel, kernel, image.shape[3], dy.shape[3]]);
    for_each_product(dw.shape, dy.shape, |[n, y, x, co], [r, s, ci], [row, column]| {
        *dw.at_mut([r, s, ci, co]) += image.at([n, row, column, ci]) * dy.at([n, y, x, co]);
    });
    dw
}

/// Calls `f` with the output index, the kernel index and the source pixel of every product of the forward pass that does not fall on
/// padding.
fn for_each_product(w: [usize; 4], y: [usize; 4], mut f: impl FnMut([usize; 4], [usize; 3], [usize; 2])) {
    let p = (w[0] - 1) / 2;
    for out in indices(y) {
        for r in 0..w[0] {
            for s in 0..w[1] {
                let (row, column) = (out[1] + r, out[2] + s);
                if row >= p && row - p < y[1] && column >= p && column - p < y[2] {
                    (0..w[2]).for_each(|ci| f(out, [r, s, ci], [row - p, column - p]));
                }
            }
        }
    }
}
