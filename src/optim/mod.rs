//! What the optimiser needs from the host: Adam's schedule scalars, the loss scale, the reduction of the learning rate on a plateau,
//! early stopping.
//!
//! Small pure structs; their state is part of a checkpoint. The arithmetic on parameters is an instruction: [`crate::ops::adam`].

mod loss_scaler;

pub use loss_scaler::LossScaler;

use serde::{Deserialize, Serialize};

/// Adam's decay rates, as the networks are recorded with.
const BETA: [f64; 2] = [0.9, 0.999];

/// An improvement is a loss that is lower by at least this share.
const IMPROVEMENT: f64 = 1e-4;

/// Counts Adam's steps and says what the device needs to know of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdamClock {
    /// Steps since the moments were last zero.
    pub t: u64,
}

impl AdamClock {
    /// Counts one step and returns the persistent value `schedule` for it: [lr, 1 / (1 - beta1^t), 1 / (1 - beta2^t), 1 / loss scale].
    pub fn tick(&mut self, learning_rate: f64) -> [f32; 4] {
        self.t += 1;
        let correction = |beta: f64| (1.0 / (1.0 - libm::pow(beta, self.t as f64))) as f32;
        [learning_rate as f32, correction(BETA[0]), correction(BETA[1]), 1.0]
    }
}

/// Whether `loss` is lower than `best` by more than rounding and noise. The first finite loss always is.
pub fn is_improvement(loss: f64, best: Option<f64>) -> bool {
    loss.is_finite() && best.is_none_or(|best| loss < best - IMPROVEMENT * best.abs())
}

/// The learning rate of epoch `epoch` (from 0) of `epochs`, from `peak` down to nearly nothing along half a cosine (Loshchilov and
/// Hutter 2017, equation 5, without restarts).
pub fn cosine(peak: f64, epoch: usize, epochs: usize) -> f64 {
    let share = (epoch as f64 / epochs.max(1) as f64).min(1.0);
    peak * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * share))
}

/// Reduces the learning rate when the validation loss has not improved for more than `patience` epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    pub factor: f64,
    pub patience: usize,
    waited: usize,
}

impl Plateau {
    pub fn new(factor: f64, patience: usize) -> Self {
        Plateau { factor, patience, waited: 0 }
    }

    /// Takes note of an epoch and returns the learning rate for the next one.
    pub fn observe(&mut self, improved: bool, learning_rate: f64) -> f64 {
        self.waited = if improved { 0 } else { self.waited.saturating_add(1) };
        if self.waited <= self.patience {
            return learning_rate;
        }
        self.waited = 0;
        learning_rate * self.factor
    }
}

/// Stops when the validation loss has not improved for `patience` epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyStopping {
    pub patience: usize,
    /// Epochs that run in any case.
    pub at_least: usize,
    epochs: usize,
    waited: usize,
}

impl EarlyStopping {
    pub fn new(patience: usize, at_least: usize) -> Self {
        EarlyStopping { patience, at_least, epochs: 0, waited: 0 }
    }

    /// Takes note of an epoch and says whether to stop now.
    pub fn observe(&mut self, improved: bool) -> bool {
        self.epochs = self.epochs.saturating_add(1);
        self.waited = if improved { 0 } else { self.waited.saturating_add(1) };
        self.waited >= self.patience && self.epochs >= self.at_least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_corrects_the_bias_of_the_moments() {
        let mut clock = AdamClock::default();
        let first = clock.tick(1e-3);
        for (found, expected) in first.into_iter().zip([1e-3, 10.0, 1000.0, 1.0]) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{first:?}");
        }
        let second = clock.tick(1e-3);
        assert!((second[1] - 1.0 / 0.19).abs() < 1e-5 && (second[2] - 1.0 / 0.001_999).abs() < 1e-3, "{second:?}");
        let late = AdamClock { t: 100_000 }.tick(1e-3);
        assert_eq!(late[1..], [1.0, 1.0, 1.0]);
    }

    #[test]
    fn an_improvement_is_relative() {
        assert!(is_improvement(5.0, None) && !is_improvement(f64::NAN, None) && !is_improvement(f64::INFINITY, None));
        assert!(!is_improvement(0.999_95, Some(1.0)) && is_improvement(0.999_85, Some(1.0)));
        assert!(!is_improvement(0.000_999_95, Some(0.001)) && is_improvement(0.000_999_85, Some(0.001)));
        assert!(!is_improvement(f64::NAN, Some(1.0)));
    }

    #[test]
    fn a_cosine_falls_from_the_peak_to_nearly_nothing() {
        let rates: Vec<f64> = (0..10).map(|epoch| cosine(2.0, epoch, 10)).collect();
        assert!(rates[0] == 2.0 && (rates[5] - 1.0).abs() < 1e-12 && rates[9] < 0.05, "{rates:?}");
        assert!(rates.windows(2).all(|pair| pair[1] < pair[0]) && rates[9] > 0.0);
    }

    /// As PyTorch's `ReduceLROnPlateau(patience=5)`: the sixth epoch without improvement reduces, and the count starts again.
    #[test]
    fn a_plateau_reduces_after_more_than_patience_epochs() {
        let mut plateau = Plateau::new(0.1, 5);
        let mut lr = plateau.observe(true, 1.0);
        for epoch in 1..=5 {
            lr = plateau.observe(false, lr);
            assert_eq!(lr, 1.0, "after {epoch} epochs");
        }
        lr = plateau.observe(false, lr);
        assert_eq!(lr, 0.1);
        for _ in 0..5 {
            lr = plateau.observe(false, lr);
        }
        assert_eq!(lr, 0.1, "an improvement or a reduction starts the count again");
        assert_eq!(plateau.observe(true, lr), 0.1);
    }

    #[test]
    fn early_stopping_waits_for_patience_and_for_the_least_number_of_epochs() {
        let mut stopping = EarlyStopping::new(3, 0);
        let seen = [true, false, false, true, false, false, false].map(|improved| stopping.observe(improved));
        assert_eq!(seen, [false, false, false, false, false, false, true]);
        let mut patient = EarlyStopping::new(1, 4);
        assert_eq!([false, false, false, false].map(|improved| patient.observe(improved)), [false, false, false, true]);
    }

    #[test]
    fn state_survives_json() {
        let mut plateau = Plateau::new(0.1, 5);
        plateau.observe(false, 1e-4);
        let text = serde_json::to_string(&plateau).unwrap();
        assert_eq!(serde_json::from_str::<Plateau>(&text).unwrap(), plateau);
    }
}
