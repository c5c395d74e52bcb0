//! The loop: epochs of steps, validation, schedule, checkpoints.

use super::config::Config;
use super::engine::Engine;
use super::feed::Feed;
use super::order::Order;
use super::progress::Progress;
use super::state::{Best, Collapse, Diverged, Phase, State, Totals};
use super::store::{EpochLine, Store};
use crate::augment::Loader;
use crate::error::{Error, ErrorKind, Result};
use crate::optim::is_improvement;
use crate::plan::Precision;
use std::time::Instant;

/// After this many epochs in a row with a constant answer the training says so.
const COLLAPSED_EPOCHS: usize = 3;

/// A training in progress.
pub(crate) struct Trainer<'a> {
    pub config: &'a Config,
    pub engine: Engine,
    pub state: State,
    pub store: Store,
    pub order: Order,
    pub training: Feed,
    pub validation: Loader,
    /// Number of validation images.
    pub n_val: usize,
    pub progress: Progress,
    /// Whether the user wants to stop; asked after every batch.
    pub interrupt: &'a dyn Fn() -> bool,
}

impl Trainer<'_> {
    /// Trains until the state says that it is done.
    ///
    /// # Errors
    /// If the loss is no number any more, if the user interrupts (the state is then saved), or if a file or the device fails.
    pub fn fit(&mut self) -> Result<()> {
        let mut collapsed = 0;
        while self.state.phase != Phase::Done {
            let started = Instant::now();
            let n_images = self.train_epoch(started)?;
            let training_seconds = started.elapsed().as_secs_f64();
            let validation = self.validate()?;
            let seconds = started.elapsed().as_secs_f64();
            let line = self.line(&validation, n_images as f64 / training_seconds.max(1e-9), seconds);
            self.finish_epoch(&line)?;
            collapsed = self.watch_collapse(collapsed, validation.collapse());
        }
        self.progress.finish();
        Ok(())
    }

    /// Runs what is left of the epoch; returns the number of images.
    fn train_epoch(&mut self, started: Instant) -> Result<usize> {
        let images = self.order.images(self.state.epoch, self.state.batches_done);
        self.training.enqueue(&images);
        let mut n_images = 0;
        while let Some(batch) = self.training.next()? {
            let mut clock = self.state.clock;
            let schedule = clock.tick(self.state.learning_rate);
            let step = self.engine.step(batch, schedule, self.state.loss_scale(), &mut self.state.totals)?;
            let loss = step.loss;
            match self.state.take_step(clock, step) {
                Ok(()) => {}
                Err(Diverged::Loss) => return Err(self.diverged("the loss", loss.into())),
                Err(Diverged::Gradient) => return Err(self.diverged("a gradient", f64::INFINITY)),
            }
            n_images += self.order.batch;
            let images_per_s = n_images as f64 / started.elapsed().as_secs_f64().max(1e-9);
            self.progress.step(self.state.epoch, self.state.step, loss, images_per_s);
            if (self.interrupt)() {
                return Err(self.interrupted());
            }
        }
        Ok(n_images)
    }

    /// The sums over all validation images.
    fn validate(&mut self) -> Result<Totals> {
        let images: Vec<(u32, usize)> = (0..self.n_val).map(|image| (0, image)).collect();
        let mut totals = Totals::new(self.config.instances);
        self.validation.enqueue(&images);
        while let Some(batch) = self.validation.next()? {
            self.engine.validate(batch, &mut totals)?;
            if (self.interrupt)() {
                return Err(self.interrupted());
            }
        }
        Ok(totals)
    }

    fn line(&self, validation: &Totals, images_per_s: f64, seconds: f64) -> EpochLine {
        let loss = self.config.loss();
        EpochLine {
            epoch: self.state.epoch + 1,
            phase: self.state.phase,
            lr: self.state.learning_rate,
            train_loss: self.state.totals.loss(&loss),
            val_loss: validation.loss(&loss),
            train_dice: self.state.totals.dice(),
            val_dice: validation.dice(),
            val_precision: validation.precision(),
            val_recall: validation.recall(),
            images_per_s,
            seconds,
            skipped_steps: self.state.loss_scaler.map(|_| self.state.skipped_steps),
            loss_scale: self.state.loss_scaler.map(|scaler| scaler.scale()),
        }
    }

    /// Keeps the epoch if it is the best, logs it, goes on to the next epoch or phase, and saves.
    fn finish_epoch(&mut self, line: &EpochLine) -> Result<()> {
        if !line.val_loss.is_finite() {
            return Err(self.diverged("the validation loss", line.val_loss));
        }
        let improved = is_improvement(line.val_loss, self.state.best.as_ref().map(|best| best.loss));
        if improved {
            let checksum = self.store.save_best(&self.engine, &self.state, line.val_loss)?;
            self.state.best = Some(Best { loss: line.val_loss, epoch: self.state.epoch, checksum });
        }
        self.store.append(line)?;
        self.state.log_lines += 1;
        let new_phase = self.state.advance(improved, self.config);
        if new_phase && self.state.phase == Phase::FineTune {
            self.begin_fine_tuning()?;
        }
        self.store.save_last(&self.engine, &self.state)?;
        self.progress.epoch(line, improved, self.epochs_left());
        Ok(())
    }

    /// Fine-tuning starts from the best weights, with moments of zero.
    fn begin_fine_tuning(&mut self) -> Result<()> {
        self.store.load_best(&mut self.engine, &self.state)?;
        for parameter in self.config.network().parameters().iter().filter(|p| p.kind.is_trained()) {
            let zeros = vec![0.0; parameter.shape.len()];
            self.engine.write(&format!("{}.m", parameter.name), &zeros)?;
            self.engine.write(&format!("{}.v", parameter.name), &zeros)?;
        }
        self.progress.say(&format!("fine-tuning from the best epoch at a learning rate of {}", self.state.learning_rate));
        Ok(())
    }

    fn epochs_left(&self) -> usize {
        let this_phase = self.state.phase_epochs(self.config).saturating_sub(self.state.phase_epoch);
        this_phase + if self.state.phase == Phase::Main { self.config.fine_tune_epochs } else { 0 }
    }

    /// Counts epochs with a constant answer and says so when there are too many. Whether the training ends like that is seen when
    /// the threshold is chosen, which need not be 0.5.
    fn watch_collapse(&self, collapsed: usize, collapse: Option<Collapse>) -> usize {
        let Some(collapse) = collapse else { return 0 };
        if collapsed + 1 == COLLAPSED_EPOCHS {
            let what = match collapse {
                Collapse::Nothing => "predicts nothing (no pixel of the validation images reaches 0.5)",
                Collapse::Everything => "predicts everything (nearly all pixels of the validation images)",
            };
            self.progress.say(&format!(
                "warning: for {COLLAPSED_EPOCHS} epochs the model {what}: it may have collapsed.\n  what to do: {}",
                collapse.remedy()
            ));
        }
        collapsed + 1
    }

    fn diverged(&self, what: &str, value: f64) -> Error {
        self.progress.finish();
        let (epoch, step) = (self.state.epoch + 1, self.state.step + 1);
        let in_f32 = if self.config.precision != Precision::F32 { ", with --precision f32" } else { "" };
        Error::run(format!("{what} became {value} in epoch {epoch}, step {step}; the state before it is kept"))
            .at(self.store.files.checkpoint("last"))
            .remedy(format!(
                "train again with a lower learning rate (--lr {}){in_f32} into another --out; \
                 if that does not help, look for broken pictures with `inspect`",
                self.config.lr / 10.0
            ))
    }

    /// Saves the state and says how to go on.
    fn interrupted(&self) -> Error {
        self.progress.finish();
        let run = self.store.files.root();
        match self.store.save_last(&self.engine, &self.state) {
            Ok(()) => {
                Error::new(ErrorKind::Interrupted, format!("interrupted after step {}; the state is saved", self.state.step))
                    .at(run)
                    .remedy(format!("go on with `unet-engine train --resume --out {}`", run.display()))
            }
            Err(error) => error,
        }
    }
}
