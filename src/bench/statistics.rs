//! The middle and the spread of repeated measurements.

use serde::Serialize;

/// Median and quartiles of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
}

impl Spread {
    /// Of numbers in any order; quartiles between two numbers are interpolated (Hyndman and Fan 1996, definition 7, as NumPy and R do).
    ///
    /// # Panics
    /// If there are none.
    pub fn of(numbers: &[f64]) -> Spread {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [lower_quartile, median, upper_quartile] = [0.25, 0.5, 0.75].map(|part| quantile(&sorted, part));
        Spread { lower_quartile, median, upper_quartile }
    }

    /// The distance of the quartiles, as a part of the median.
    pub fn relative(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / self.median
    }
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, and as `numpy.percentile([7, 1, 3, 10], [25, 50, 75])`.
    #[test]
    fn quartiles_by_hand() {
        let of = |numbers: &[f64]| {
            let Spread { lower_quartile, median, upper_quartile } = Spread::of(numbers);
            [lower_quartile, median, upper_quartile]
        };
        assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(of(&[7.0, 1.0, 3.0, 10.0]), [2.5, 5.0, 7.75]);
        assert_eq!(of(&[2.0]), [2.0; 3]);
        assert_eq!(Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).relative(), 2.0 / 3.0);
    }

    /// One slow repetition among many does not move what is reported.
    #[test]
    fn an_outlier_does_not_count() {
        let mut seconds = vec![1.0; 20];
        seconds.push(1000.0);
        assert_eq!(Spread::of(&seconds), Spread { lower_quartile: 1.0, median: 1.0, upper_quartile: 1.0 });
    }
}
