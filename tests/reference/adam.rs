//! Adam (Kingma and Ba 2015, algorithm 1).

use super::Array;

/// New parameter, m and v. `schedule` is [learning rate, 1 / (1 - beta1^t), 1 / (1 - beta2^t), 1 / loss scale].
pub fn step(g: &Array, schedule: &[f64], before: [&Array; 3], [beta1, beta2, eps]: [f64; 3]) -> [Array; 3] {
    let [parameter, m, v] = before;
    let g = g.map(|g| g * schedule[3]);
    let m = m.zip(&g, |m, g| beta1 * m + (1.0 - beta1) * g);
    let v = v.zip(&g, |v, g| beta2 * v + (1.0 - beta2) * g * g);
    let step = m.zip(&v, |m, v| schedule[0] * m * schedule[1] / ((v * schedule[2]).sqrt() + eps));
    [parameter.zip(&step, |p, s| p - s), m, v]
}
