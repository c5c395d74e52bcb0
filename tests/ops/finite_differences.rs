//! Derivatives of the f64 reference by central differences, with a random upstream gradient: ones would hide swapped axes.

use crate::reference::Array;

/// The step. The error is about h^2 from the third derivative and 1e-16 / h from rounding: both near 1e-10.
pub const H: f64 = 1e-5;

/// The derivative of sum(upstream f(x)) by each element of x.
pub fn differentiate(x: &Array, upstream: &Array, f: impl Fn(&Array) -> Array) -> Array {
    let along = |i: usize, step: f64| {
        let mut moved = x.clone();
        moved.data[i] += step;
        f(&moved).dot(upstream)
    };
    let data = (0..x.data.len()).map(|i| (along(i, H) - along(i, -H)) / (2.0 * H)).collect();
    Array::new(x.shape, data)
}
