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
use crate::plan::{MemoryReceipt, PlanOptions};

/// The plans of the session, by their index.
const TRAINING: usize = 0;
const VALIDATION: usize = 1;

/// A network on a device, ready to be trained.
pub struct Engine {
    session: Session,
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
    /// If the shapes do not fit.
    pub fn plan(
        backend: Box<dyn Backend>,
        network: &NetworkSpec,
        batch: usize,
        size: [usize; 2],
        loss: LossParameters,
        assignment: Assignment,
    ) -> Result<Engine> {
        let (target, name) = match network.channels_out {
            1 => (Target::Given, "target"),
            _ => (Target::Assigned(assignment), "instances"),
        };
        let training = network.record_training(batch, size, loss, target)?;
        let validation = network.record_validation(batch, size, loss, target)?;
        let session = Session::plan(backend, &[&training, &validation], PlanOptions::default())?;
        Ok(Engine { session, sums: vec![0.0; batch * network.channels_out * N_SUMS], target: name })
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

    /// One training step with Adam's `schedule`; adds its sums to `totals` and returns the batch's loss.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self, batch: &Batch, schedule: [f32; 4], totals: &mut Totals) -> Result<f32> {
        self.session.write_persistent("schedule", &schedule)?;
        self.run(TRAINING, batch, totals)
    }

    /// The loss of a batch with running statistics; adds its sums to `totals`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn validate(&mut self, batch: &Batch, totals: &mut Totals) -> Result<f32> {
        self.run(VALIDATION, batch, totals)
    }

    /// The probabilities of `images`, each in its own pixels.
    ///
    /// # Errors
    /// If the device fails or `frame` has another shape.
    pub fn probabilities(&mut self, frame: &Frame, images: &[&Gray]) -> Result<Vec<Maps>> {
        infer::probabilities(&mut self.session, VALIDATION, frame, images, |_| {})
    }

    fn run(&mut self, plan: usize, batch: &Batch, totals: &mut Totals) -> Result<f32> {
        self.session.write_input(plan, "image", &batch.image)?;
        self.session.write_input(plan, self.target, &batch.target)?;
        self.session.write_input(plan, "weight", &batch.weight)?;
        self.session.run(plan)?;
        let mut loss = [0.0];
        self.session.read_output(plan, "loss", &mut loss)?;
        self.session.read_output(plan, "sums", &mut self.sums)?;
        totals.add(&self.sums);
        Ok(loss[0])
    }
}
