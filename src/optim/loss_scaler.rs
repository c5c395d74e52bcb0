//! Dynamic loss scaling (Micikevicius et al. 2018, section 3.2): the loss's gradient is multiplied by a number that lifts small
//! gradients above f16's smallest, as large as it can be without large ones passing f16's largest.

use serde::{Deserialize, Serialize};

/// Where the scale starts, and between which powers of two it stays.
const INITIAL: f32 = 65_536.0;
const MIN: f32 = 1.0;
const MAX: f32 = 16_777_216.0;

/// After so many steps in a row without overflow a larger scale is tried.
const STEPS_TO_GROW: u32 = 2000;

/// Chooses the loss scale from step to step. Its scale is always a power of two, by which nothing is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaler {
    scale: f32,
    /// Steps in a row without overflow at this scale.
    clean_steps: u32,
}

impl Default for LossScaler {
    fn default() -> Self {
        LossScaler { scale: INITIAL, clean_steps: 0 }
    }
}

impl LossScaler {
    /// The scale of the next step.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Whether no overflow can be helped any more by a lower scale.
    pub fn is_exhausted(&self) -> bool {
        self.scale <= MIN
    }

    /// Takes note of a step: half the scale where it overflowed, twice the scale where none did for long.
    pub fn observe(&mut self, overflowed: bool) {
        if overflowed {
            *self = LossScaler { scale: (self.scale / 2.0).max(MIN), clean_steps: 0 };
            return;
        }
        self.clean_steps += 1;
        if self.clean_steps >= STEPS_TO_GROW {
            *self = LossScaler { scale: (self.scale * 2.0).min(MAX), clean_steps: 0 };
        }
    }

    /// Whether a scaler can stand here; a file may say anything.
    pub fn is_possible(&self) -> bool {
        let is_power_of_two = self.scale.to_bits() << 9 == 0;
        (MIN..=MAX).contains(&self.scale) && is_power_of_two && self.clean_steps < STEPS_TO_GROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(n_steps: u32, mut scaler: LossScaler) -> LossScaler {
        (0..n_steps).for_each(|_| scaler.observe(false));
        scaler
    }

    #[test]
    fn an_overflow_halves_the_scale_down_to_one() {
        let mut scaler = LossScaler::default();
        let scales: Vec<f32> = (0..18).map(|_| (scaler.observe(true), scaler.scale()).1).collect();
        assert_eq!(scales[..3], [32_768.0, 16_384.0, 8192.0]);
        assert_eq!(scales[14..], [2.0, 1.0, 1.0, 1.0]);
        assert!(scaler.is_exhausted() && !LossScaler::default().is_exhausted());
    }

    #[test]
    fn steps_in_a_row_double_it_up_to_a_limit() {
        let scaler = after(1999, LossScaler::default());
        assert_eq!((scaler.scale(), after(1, scaler).scale(), after(2000, scaler).scale()), (65_536.0, 131_072.0, 131_072.0));
        assert_eq!(after(1_000_000, scaler).scale(), 16_777_216.0);
    }

    #[test]
    fn an_overflow_starts_the_count_again() {
        let mut scaler = after(1999, LossScaler::default());
        scaler.observe(true);
        assert_eq!((after(1999, scaler).scale(), after(2000, scaler).scale()), (32_768.0, 65_536.0));
    }

    #[test]
    fn state_survives_json_and_nonsense_is_noticed() {
        let mut scaler = after(7, LossScaler::default());
        for overflowed in [false, true, true] {
            assert!(scaler.is_possible());
            let text = serde_json::to_string(&scaler).unwrap();
            assert_eq!(serde_json::from_str::<LossScaler>(&text).unwrap(), scaler);
            scaler.observe(overflowed);
        }
        for (scale, clean_steps) in
            [(0.5, 0), (0.0, 0), (3.0, 0), (f32::NAN, 0), (f32::INFINITY, 0), (-2.0, 0), (3e7, 0), (2.0, 2000)]
        {
            assert!(!LossScaler { scale, clean_steps }.is_possible(), "{scale}, {clean_steps}");
        }
    }
}
