//! The device side of a training: one session with the training and the validation plan.
//!
//! After the first call nothing here allocates: batches come in the loader's buffers, sums go to a buffer made at the start.
//!
//! Where the device augments, its training plan takes pictures and draws; validation always takes what the loader's threads letterboxed, as
//! prediction does.

use super::state::Totals;
use crate::augment::{self, Batch, RawBatch};
use crate::backend::{Backend, Session};
use crate::error::Result;
use crate::image::Gray;
use crate::infer::{self, Frame, Maps};
use crate::model::{NetworkSpec, Target};
use crate::ops::assign::Assignment;
use crate::ops::augment::{Pictures, QUANTILES};
use crate::ops::dice_bce::{LossParameters, N_SUMS};
use crate::plan::{MemoryReceipt, OVERFLOW, PlanOptions, Precision, Slot};

/// The plans of the session, by their index.
const TRAINING: usize = 0;
const VALIDATION: usize = 1;

/// What an engine is planned for.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    pub network: NetworkSpec,
    pub batch: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    pub loss: LossParameters,
    /// What gives instances to channels where there are several.
    pub assignment: Assignment,
    pub precision: Precision,
    /// Of the training, where the plan augments them; `None`: the host gives batches that are augmented.
    pub pictures: Option<Pictures>,
}

/// A batch for a training step, of the kind that the engine was planned for.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// Augmented by the host.
    Arrays(&'a Batch),
    /// To be augmented by the plan.
    Raw(&'a RawBatch),
}

impl<'a> From<&'a Batch> for Inputs<'a> {
    fn from(batch: &'a Batch) -> Self {
        Inputs::Arrays(batch)
    }
}

impl<'a> From<&'a RawBatch> for Inputs<'a> {
    fn from(batch: &'a RawBatch) -> Self {
        Inputs::Raw(batch)
    }
}

/// What a training step has brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The batch's loss, without the loss scale.
    pub loss: f32,
    /// Whether a gradient passed what can be stored. The step then changed nothing: no parameter, moment or running statistic.
    pub overflowed: bool,
}

/// A network on a device, ready to be trained.
pub struct Engine {
    session: Session,
    precision: Precision,
    /// [N, 1, K, 8] of the last run.
    sums: Vec<f32>,
    /// The plans' name for the batch's target: labels of instances where there are several channels to assign them to.
    target: &'static str,
}

impl Engine {
    /// Records the network and plans it. Allocates no memory yet.
    ///
    /// # Errors
    /// If the shapes do not fit, or the device cannot compute in this precision.
    pub fn plan(backend: Box<dyn Backend>, options: &EngineOptions) -> Result<Engine> {
        let EngineOptions { network, batch, size, loss, assignment, precision, pictures } = *options;
        let (target, name) = match network.channels_out {
            1 => (Target::Given, "target"),
            _ => (Target::Assigned(assignment), "instances"),
        };
        let training = match &pictures {
            None => network.record_training(batch, size, loss, target)?,
            Some(pictures) => network.record_augmented_training(batch, pictures, loss, target)?,
        };
        let validation = network.record_validation(batch, size, loss, target)?;
        let session = Session::plan(backend, &[&training, &validation], PlanOptions { fuse: true, precision })?;
        Ok(Engine { session, precision, sums: vec![0.0; batch * network.channels_out * N_SUMS], target: name })
    }

    /// Allocates the memory of the plans.
    ///
    /// # Errors
    /// If it is not there.
    pub fn allocate(&mut self) -> Result<()> {
        self.session.allocate()?;
        if self.session.layout().get(QUANTILES).is_some() {
            self.session.write_persistent(QUANTILES, augment::upper_quantiles())?;
        }
        self.session.write_persistent("loss_scale", &[1.0])
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Writes a persistent value.
    ///
    /// # Errors
    /// If there is none of this name and size.
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<()> {
        self.session.write_persistent(name, data)
    }

    /// What the training needs, host batches of `host_bytes` included.
    pub fn receipt(&self, host_bytes: usize) -> MemoryReceipt {
        self.session.receipt(host_bytes)
    }

    /// Names and places of what a checkpoint keeps: all but the flag of overflow, which says something of one step only, and the table
    /// that is the same in every run.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.session.layout().iter().filter(|(name, _)| ![OVERFLOW, QUANTILES].contains(name))
    }

    /// Names of what a training that goes on takes from a checkpoint. The loss scale is not among it: it belongs to the precision of
    /// the run that was stopped, which need not be this one's.
    pub(super) fn restored(&self) -> impl Iterator<Item = &str> {
        self.kept().map(|(name, _)| name).filter(|name| *name != "loss_scale")
    }

    /// One training step with Adam's `schedule` [lr, c1, c2, _] and a loss that is scaled by `loss_scale` (1 in f32). Adds the step's
    /// sums to `totals`, unless it overflowed: then they may be no numbers.
    ///
    /// # Errors
    /// If the device fails, or the engine was planned for the other kind of batches.
    pub fn step<'a>(
        &mut self,
        batch: impl Into<Inputs<'a>>,
        schedule: [f32; 4],
        loss_scale: f32,
        totals: &mut Totals,
    ) -> Result<Step> {
        let [rate, c1, c2, _] = schedule;
        self.session.write_persistent("schedule", &[rate, c1, c2, 1.0 / loss_scale])?;
        if self.precision.can_overflow() {
            self.session.write_persistent("loss_scale", &[loss_scale])?;
            self.session.write_persistent(OVERFLOW, &[0.0])?;
        }
        match batch.into() {
            Inputs::Arrays(batch) => self.write_arrays(TRAINING, batch)?,
            Inputs::Raw(batch) => self.write_raw(TRAINING, batch)?,
        }
        let loss = self.run(TRAINING)?;
        let overflowed = self.precision.can_overflow() && self.session.read_scalar(OVERFLOW)? != 0.0;
        if !overflowed {
            totals.add(&self.sums);
        }
        Ok(Step { loss, overflowed })
    }

    /// The loss of a batch with running statistics; adds its sums to `totals`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn validate(&mut self, batch: &Batch, totals: &mut Totals) -> Result<f32> {
        self.write_arrays(VALIDATION, batch)?;
        let loss = self.run(VALIDATION)?;
        totals.add(&self.sums);
        Ok(loss)
    }

    /// The probabilities of `images`, each in its own pixels.
    ///
    /// # Errors
    /// If the device fails or `frame` has another shape.
    pub fn probabilities(&mut self, frame: &Frame, images: &[&Gray]) -> Result<Vec<Maps>> {
        infer::probabilities(&mut self.session, VALIDATION, frame, images, |_| {})
    }

    fn write_arrays(&mut self, plan: usize, batch: &Batch) -> Result<()> {
        self.session.write_input(plan, "image", &batch.image)?;
        self.session.write_input(plan, self.target, &batch.target)?;
        self.session.write_input(plan, "weight", &batch.weight)
    }

    fn write_raw(&mut self, plan: usize, batch: &RawBatch) -> Result<()> {
        self.session.write_input(plan, "content", &batch.content)?;
        self.session.write_input_bytes(plan, "labels", &batch.labels)?;
        self.session.write_input_bytes(plan, "draws", bytemuck::cast_slice(&batch.draws))?;
        self.session.write_input(plan, "control", &batch.control)
    }

    /// Runs a plan and reads its loss and its sums.
    fn run(&mut self, plan: usize) -> Result<f32> {
        self.session.run(plan)?;
        let mut loss = [0.0];
        self.session.read_output(plan, "loss", &mut loss)?;
        self.session.read_output(plan, "sums", &mut self.sums)?;
        Ok(loss[0])
    }
}
