//! Operations on each element, and the sum over pixels.

use super::Array;

/// A NaN stays one.
pub fn relu(x: &Array) -> Array {
    x.map(|x| if x < 0.0 { 0.0 } else { x })
}

pub fn relu_grad(dy: &Array, y: &Array) -> Array {
    dy.zip(y, |dy, y| if y > 0.0 { dy } else { 0.0 })
}

pub fn add(a: &Array, b: &Array) -> Array {
    a.zip(b, |a, b| a + b)
}

pub fn sigmoid(x: &Array) -> Array {
    x.map(logistic)
}

pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// y[c] = sum over n, y, x of x[n, y, x, c].
pub fn channel_sum(x: &Array) -> Array {
    let c_max = x.shape[3];
    Array::vector((0..c_max).map(|c| x.data.iter().skip(c).step_by(c_max).sum()).collect())
}
