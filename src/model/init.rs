//! He initialisation.

use super::{Parameter, ParameterKind};
use crate::random::{Philox, Purpose};

/// The initial value of a parameter: He et al. 2015 (normal, variance 2 / fan_in) for weights, 0 for biases, beta and running means,
/// 1 for gamma and running variances. `index` is the parameter's place in [`super::NetworkSpec::parameters`]; it addresses the random
/// stream, so that the value depends on nothing but (seed, index).
pub fn initialise(parameter: &Parameter, index: usize, seed: u64) -> Vec<f32> {
    let len = parameter.shape.len();
    match parameter.kind {
        ParameterKind::Weight { fan_in } => {
            let deviation = (2.0 / fan_in as f32).sqrt();
            let mut random = Philox::new(seed, 0, index as u32, Purpose::Initialise);
            (0..len).map(|_| deviation * random.normal()).collect()
        }
        ParameterKind::Bias | ParameterKind::Beta | ParameterKind::RunningMean => vec![0.0; len],
        ParameterKind::Gamma | ParameterKind::RunningVar => vec![1.0; len],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Shape;

    fn weight(fan_in: usize, shape: Shape) -> Parameter {
        Parameter { name: "w".into(), shape, kind: ParameterKind::Weight { fan_in } }
    }

    #[test]
    fn weights_have_mean_zero_and_he_variance() {
        let parameter = weight(9 * 32, Shape([3, 3, 32, 64]));
        let values = initialise(&parameter, 4, 11);
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        let expected = 2.0 / (9.0 * 32.0);
        // Four standard errors of the mean and of the variance of n normal numbers.
        assert!(mean.abs() < 4.0 * (expected / n).sqrt(), "mean {mean}");
        assert!((variance / expected - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "variance {variance}, expected {expected}");
    }

    #[test]
    fn values_depend_on_seed_and_index_and_on_nothing_else() {
        let parameter = weight(9, Shape([3, 3, 1, 4]));
        let values = initialise(&parameter, 0, 1);
        assert_eq!(values, initialise(&Parameter { name: "other".into(), ..parameter.clone() }, 0, 1));
        assert_ne!(values, initialise(&parameter, 1, 1));
        assert_ne!(values, initialise(&parameter, 0, 2));
    }
}
