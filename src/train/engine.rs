//! The device side of a training: one session with the training and the validation plan.
//!
//! After the first call nothing here allocates: batches come in the loader's buffers, sums go to a buffer made at the start.

use super::state::Totals;
use crate::augment::Batch;
use crate::backend::{Backend, Session};
use crate::error::Result;
use crate::image::Gray;
use crate::infer::{self, Frame, Maps};
use crate::model::{NetworkSpec, Target};
use crate::ops::assign::Assignment;
use crate::ops::dice_bce::{LossParameters, N_SUMS};
use crate::plan::{MemoryReceipt, OVERFLOW, PlanOptions, Precision, Slot};

/// The plans of the session, by their index.
const TRAINING: usize = 0;
const VALIDATION: usize = 1;

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
    /// Records the network and plans it. `size` is height and width of the input; `assignment` gives instances to channels where there
    /// are several. Allocates no memory yet.
    ///
    /// # Errors
    /// If the shapes do not fit, or the device cannot compute in this precision.
    pub fn plan(
        backend: Box<dyn Backend>,
        network: &NetworkSpec,
        batch: usize,
        size: [usize; 2],
        loss: LossParameters,
        assignment: Assignment,
        precision: Precision,
    ) -> Result<Engine> {
        let (target, name) = match network.channels_out {
            1 => (Target::Given, "target"),
            _ => (Target::Assigned(assignment), "instances"),
        };
        let training = network.record_training(batch, size, loss, target)?;
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

    /// Names and places of what a checkpoint keeps: all but the flag of overflow, which says something of one step only.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.session.layout().iter().filter(|(name, _)| *name != OVERFLOW)
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
    /// If the device fails.
    pub fn step(&mut self, batch: &Batch, schedule: [f32; 4], loss_scale: f32, totals: &mut Totals) -> Result<Step> {
        let [rate, c1, c2, _] = schedule;
        self.session.write_persistent("schedule", &[rate, c1, c2, 1.0 / loss_scale])?;
        if self.precision == Precision::Mixed {
            self.session.write_persistent("loss_scale", &[loss_scale])?;
            self.session.write_persistent(OVERFLOW, &[0.0])?;
        }
        let loss = self.run(TRAINING, batch)?;
        let overflowed = self.precision == Precision::Mixed && self.session.read_scalar(OVERFLOW)? != 0.0;
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
        let loss = self.run(VALIDATION, batch)?;
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

    /// Runs a plan on a batch and reads its loss and its sums.
    fn run(&mut self, plan: usize, batch: &Batch) -> Result<f32> {
        self.session.write_input(plan, "image", &batch.image)?;
        self.session.write_input(plan, self.target, &batch.target)?;
        self.session.write_input(plan, "weight", &batch.weight)?;
        self.session.run(plan)?;
        let mut loss = [0.0];
        self.session.read_output(plan, "loss", &mut loss)?;
        self.session.read_output(plan, "sums", &mut self.sums)?;
        Ok(loss[0])
    }
}
