//! The state of a training: all that a checkpoint holds besides tensors.

use super::config::{Config, EPOCHS_MAX, Schedule};
use super::engine::Step;
use crate::ops::dice_bce::{LossParameters, N_SUMS, sums};
use crate::optim::{AdamClock, EarlyStopping, LossScaler, Plateau, cosine};
use crate::plan::Precision;
use serde::{Deserialize, Serialize};

/// The learning rate falls to this share on a plateau.
const PLATEAU_FACTOR: f64 = 0.1;

/// Fine-tuning runs at least this many epochs.
const FINE_TUNE_AT_LEAST: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Main,
    FineTune,
    Done,
}

/// The epoch with the lowest validation loss so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub loss: f64,
    /// From 0.
    pub epoch: u32,
    /// Of the checkpoint `best`.
    pub checksum: String,
}

/// Where a training stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub phase: Phase,
    /// The epoch in progress, from 0, counted over all phases.
    pub epoch: u32,
    /// Epochs finished in this phase.
    pub phase_epoch: usize,
    /// Steps done since the beginning.
    pub step: u64,
    /// Batches done of the epoch in progress, and their sums.
    pub batches_done: usize,
    pub totals: Totals,
    pub clock: AdamClock,
    pub learning_rate: f64,
    pub plateau: Plateau,
    pub stopping: EarlyStopping,
    pub best: Option<Best>,
    /// Lines of `train.jsonl` that belong to this state.
    pub log_lines: usize,
    /// In mixed precision only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scaler: Option<LossScaler>,
    /// Steps of the epoch in progress that overflowed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_steps: u64,
}

/// Why a training cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diverged {
    /// The loss is no number any more.
    Loss,
    /// A gradient overflows although the loss is not scaled up any more.
    Gradient,
}

impl State {
    /// The state before the first step.
    pub fn new(config: &Config) -> State {
        State {
            phase: Phase::Main,
            epoch: 0,
            phase_epoch: 0,
            step: 0,
            batches_done: 0,
            totals: Totals::new(config.instances),
            clock: AdamClock::default(),
            learning_rate: config.lr,
            plateau: Plateau::new(PLATEAU_FACTOR, config.plateau_patience),
            stopping: EarlyStopping::new(config.stop_patience, 0),
            best: None,
            log_lines: 0,
            loss_scaler: None,
            skipped_steps: 0,
        }
        .in_precision(config.precision)
    }

    /// This state where a training goes on in `precision`, whatever it was stopped in: a loss scale is kept, found anew, or dropped.
    pub fn in_precision(mut self, precision: Precision) -> State {
        match precision {
            Precision::Mixed => self.loss_scaler = Some(self.loss_scaler.unwrap_or_default()),
            Precision::F32 | Precision::Bf16 => (self.loss_scaler, self.skipped_steps) = (None, 0),
        }
        self
    }

    /// What the loss of the next step is multiplied by for its gradient.
    pub fn loss_scale(&self) -> f32 {
        self.loss_scaler.map_or(1.0, |scaler| scaler.scale())
    }

    /// Takes note of a training step; `clock` counts it for Adam. One that overflowed changed nothing, so that it does not count for
    /// Adam, and the next one is tried with a lower loss scale.
    ///
    /// # Errors
    /// If the training cannot go on.
    pub fn take_step(&mut self, clock: AdamClock, step: Step) -> Result<(), Diverged> {
        let can_back_off = self.loss_scaler.is_some_and(|scaler| !scaler.is_exhausted());
        match step.overflowed && can_back_off {
            true => self.skipped_steps += 1,
            false if !step.loss.is_finite() => return Err(Diverged::Loss),
            false if step.overflowed => return Err(Diverged::Gradient),
            false => self.clock = clock,
        }
        if let Some(scaler) = &mut self.loss_scaler {
            scaler.observe(step.overflowed);
        }
        self.step += 1;
        self.batches_done += 1;
        Ok(())
    }

    /// Checks that a training of `config` can stand here; a file may say anything.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub fn check(&self, config: &Config) -> Result<(), String> {
        /// More steps than any training has, and far from where counting would overflow.
        const STEPS_MAX: u64 = 1 << 48;
        let checks = [
            ("epoch", self.epoch as usize <= 2 * EPOCHS_MAX),
            ("phase_epoch", self.phase_epoch <= EPOCHS_MAX),
            ("step", self.step.max(self.clock.t) <= STEPS_MAX),
            ("batches_done", self.batches_done as u64 <= STEPS_MAX),
            ("log_lines", self.log_lines == self.epoch as usize),
            ("totals", self.totals.channels.len() == config.instances),
            ("loss_scaler", self.loss_scaler.is_none_or(|scaler| scaler.is_possible())),
            ("skipped_steps", self.skipped_steps <= self.batches_done as u64),
            ("learning_rate", self.learning_rate.is_finite() && self.learning_rate >= 0.0),
        ];
        match checks.iter().find(|(_, is_legal)| !is_legal) {
            Some((name, _)) => Err(format!("`{name}` has a value that no training reaches")),
            None => Ok(()),
        }
    }

    /// Epochs that this phase runs at most.
    pub fn phase_epochs(&self, config: &Config) -> usize {
        match self.phase {
            Phase::Main => config.epochs,
            Phase::FineTune => config.fine_tune_epochs,
            Phase::Done => 0,
        }
    }

    /// Goes to the next epoch, or to the next phase if this one is over. Says whether the phase changed.
    pub fn advance(&mut self, improved: bool, config: &Config) -> bool {
        self.epoch += 1;
        self.phase_epoch += 1;
        self.batches_done = 0;
        self.skipped_steps = 0;
        self.totals.clear();
        let stop = self.stopping.observe(improved);
        if self.phase == Phase::Main {
            self.learning_rate = match config.schedule {
                Schedule::Plateau => self.plateau.observe(improved, self.learning_rate),
                Schedule::Cosine => cosine(config.lr, self.phase_epoch, config.epochs),
            };
        }
        if !stop && self.phase_epoch < self.phase_epochs(config) {
            return false;
        }
        self.phase_epoch = 0;
        self.phase = match self.phase {
            Phase::Main if config.fine_tune_epochs > 0 => Phase::FineTune,
            _ => Phase::Done,
        };
        if self.phase == Phase::FineTune {
            self.clock = AdamClock::default();
            self.learning_rate = config.fine_tune_lr;
            self.stopping = EarlyStopping::new(config.stop_patience, FINE_TUNE_AT_LEAST);
        }
        true
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The loss's sums over many images, per channel: what loss and metrics are pooled from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    channels: Vec<[f64; N_SUMS]>,
}

impl Totals {
    pub fn new(n_channels: usize) -> Totals {
        Totals { channels: vec![[0.0; N_SUMS]; n_channels] }
    }

    pub fn clear(&mut self) {
        self.channels.iter_mut().for_each(|channel| channel.fill(0.0));
    }

    /// Adds the sums [N, 1, K, 8] of a batch, in order of the images. Padding has weight 0 and adds nothing.
    pub fn add(&mut self, sums: &[f32]) {
        for image in sums.chunks_exact(self.channels.len() * N_SUMS) {
            for (channel, values) in self.channels.iter_mut().zip(image.chunks_exact(N_SUMS)) {
                for (total, &value) in channel.iter_mut().zip(values) {
                    *total += f64::from(value);
                }
            }
        }
    }

    /// The loss as if all images were one batch; see [`crate::ops::dice_bce`].
    pub fn loss(&self, parameters: &LossParameters) -> f64 {
        let smooth = f64::from(parameters.smooth);
        let share = |s: &[f64; N_SUMS]| (2.0 * s[sums::INTERSECTION] + smooth) / (s[sums::PREDICTED] + s[sums::TARGET] + smooth);
        let dice = 1.0 - self.channels.iter().map(share).sum::<f64>() / self.channels.len() as f64;
        let weight = self.sum(sums::WEIGHT);
        let cross_entropy = if weight > 0.0 { self.sum(sums::CROSS_ENTROPY) / weight } else { 0.0 };
        let alpha = f64::from(parameters.alpha);
        alpha * dice + (1.0 - alpha) * cross_entropy
    }

    /// Dice of pixels at p >= 0.5; `None` where nothing is predicted and nothing is there.
    pub fn dice(&self) -> Option<f64> {
        let hits = 2.0 * self.sum(sums::TRUE_POSITIVE);
        ratio(hits, hits + self.sum(sums::FALSE_POSITIVE) + self.sum(sums::FALSE_NEGATIVE))
    }

    /// Precision of pixels at p >= 0.5; `None` where nothing is predicted.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.sum(sums::TRUE_POSITIVE), self.predicted())
    }

    /// Recall of pixels at p >= 0.5; `None` where nothing is there.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.sum(sums::TRUE_POSITIVE), self.sum(sums::TARGET))
    }

    /// What is wrong with a model that answers the same everywhere; `None` if it does not. One channel that holds everything is enough
    /// to spoil the union; channels that hold nothing are not: there may be fewer instances than channels.
    pub fn collapse(&self) -> Option<Collapse> {
        if self.sum(sums::TARGET) > 0.0 && self.predicted() == 0.0 {
            return Some(Collapse::Nothing);
        }
        let holds_everything = |s: &[f64; N_SUMS]| {
            let predicted = s[sums::TRUE_POSITIVE] + s[sums::FALSE_POSITIVE];
            s[sums::TARGET] < 0.5 * s[sums::WEIGHT] && predicted > 0.98 * s[sums::WEIGHT]
        };
        self.channels.iter().any(holds_everything).then_some(Collapse::Everything)
    }

    fn predicted(&self) -> f64 {
        self.sum(sums::TRUE_POSITIVE) + self.sum(sums::FALSE_POSITIVE)
    }

    fn sum(&self, index: usize) -> f64 {
        self.channels.iter().map(|channel| channel[index]).sum()
    }
}

/// A model that has learnt a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collapse {
    Nothing,
    Everything,
}

impl Collapse {
    /// What the user can do about it.
    pub fn remedy(self) -> String {
        let weight = match self {
            Collapse::Nothing => "--class-weight 3",
            Collapse::Everything => "--class-weight 0.3",
        };
        format!("check the annotations with `inspect`, train for more epochs, or try {weight}, --alpha 0.8 or another --lr")
    }
}

fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests;
