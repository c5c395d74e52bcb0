//! He initialisation.

use super::Parameter;

/// The initial value of a parameter: He et al. 2015 (normal, variance 2 / fan_in) for weights, 0 for biases, beta and running means,
/// 1 for gamma and running variances. `index` is the parameter's place in [`super::NetworkSpec::parameters`]; it addresses the random
/// stream, so that the value depends on nothing but (seed, index).
pub fn initialise(_parameter: &Parameter, _index: usize, _seed: u64) -> Vec<f32> {
    todo!()
}
