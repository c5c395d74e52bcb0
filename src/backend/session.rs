//! A session: a backend, the plans of a run and their shared memory. What `train`, `predict` and `bench` hold.

use super::Backend;
use crate::error::{Error, Result};
use crate::plan::{self, MemoryReceipt, PersistentLayout, Plan, PlanOptions, Request, Slot};
use crate::tape::{DType, Tape};

/// A step of a profiled run.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Index into the plan's steps.
    pub step: usize,
    pub seconds: f64,
}

/// A backend with the plans of a run. Plans are addressed by their index in the order of `tapes`.
pub struct Session {
    backend: Box<dyn Backend>,
    layout: PersistentLayout,
    plans: Vec<Plan>,
}

impl Session {
    /// Plans all tapes, allocates the persistent region and one transient region as large as the largest plan needs.
    ///
    /// # Errors
    /// If a tape cannot be planned or the memory is not there.
    pub fn new(backend: Box<dyn Backend>, tapes: &[&Tape], options: PlanOptions) -> Result<Session> {
        let mut session = Session::plan(backend, tapes, options)?;
        session.allocate()?;
        Ok(session)
    }

    /// Plans all tapes. Nothing can be run before [`Session::allocate`], but [`Session::receipt`] says what that will take.
    ///
    /// # Errors
    /// If a tape cannot be planned, or the device lacks a kernel.
    pub fn plan(backend: Box<dyn Backend>, tapes: &[&Tape], options: PlanOptions) -> Result<Session> {
        let rewrite = |tape: &&Tape| match plan::rewrite(tape, options) {
            list if options.fuse && backend.normalises_convolutions() => plan::normalise_convolutions(list),
            list => list,
        };
        let rewritten: Vec<Tape> = tapes.iter().map(rewrite).collect();
        let layout = PersistentLayout::new(&rewritten.iter().collect::<Vec<_>>());
        // Not in a training, where they would last for a validation alone, at the cost of memory.
        let keeps = !rewritten.iter().any(Tape::has_updates);
        let scratch = |request: &Request<'_>| backend.scratch(&Request { lasts: keeps && request.lasts, ..*request });
        let plans = rewritten.iter().map(|tape| Plan::place(tape, &layout, &scratch)).collect::<Result<Vec<_>>>()?;
        plans.iter().try_for_each(|plan| backend.check(plan))?;
        Ok(Session { backend, layout, plans })
    }

    /// Allocates both regions, zeroed.
    ///
    /// # Errors
    /// If the memory is not there.
    pub fn allocate(&mut self) -> Result<()> {
        let transient_bytes = self.plans.iter().map(|p| p.transient_bytes()).max().unwrap_or(0);
        self.backend.allocate(self.layout.bytes(), transient_bytes)
    }

    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    pub fn layout(&self) -> &PersistentLayout {
        &self.layout
    }

    /// What the run needs, host batches of `host_bytes` included.
    pub fn receipt(&self, host_bytes: usize) -> MemoryReceipt {
        MemoryReceipt::new(&self.layout, &self.plans, host_bytes)
    }

    /// Runs plan `plan`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&mut self, plan: usize) -> Result<()> {
        self.backend.run(&self.plans[plan])
    }

    /// Runs plan `plan` and says how long each step took.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run_profiled(&mut self, plan: usize) -> Result<Vec<Timing>> {
        let mut seconds = Vec::with_capacity(self.plans[plan].steps().len());
        self.backend.run_profiled(&self.plans[plan], &mut seconds)?;
        Ok(seconds.into_iter().enumerate().map(|(step, seconds)| Timing { step, seconds }).collect())
    }

    /// Writes the input `name` of plan `plan`.
    ///
    /// # Errors
    /// If there is no such input or its size differs.
    pub fn write_input(&mut self, plan: usize, name: &str, data: &[f32]) -> Result<()> {
        let slot = self.plans[plan].input(name).ok_or_else(|| unknown("input", name))?;
        self.write_slot(slot, name, data)
    }

    /// Writes the input `name` of plan `plan`, which is stored as bytes.
    ///
    /// # Errors
    /// If there is no such input or its type or size differs.
    pub fn write_input_bytes(&mut self, plan: usize, name: &str, bytes: &[u8]) -> Result<()> {
        let slot = self.plans[plan].input(name).ok_or_else(|| unknown("input", name))?;
        check_data(slot, name, DType::U8, bytes.len())?;
        self.backend.write(slot, bytes)
    }

    /// Reads the output `name` of plan `plan` as of its last run.
    ///
    /// # Errors
    /// If there is no such output or its size differs.
    pub fn read_output(&self, plan: usize, name: &str, data: &mut [f32]) -> Result<()> {
        let slot = self.plans[plan].output(name).ok_or_else(|| unknown("output", name))?;
        self.read_slot(slot, name, data)
    }

    /// Writes the persistent value `name`.
    ///
    /// # Errors
    /// If there is no such value or its size differs.
    pub fn write_persistent(&mut self, name: &str, data: &[f32]) -> Result<()> {
        let slot = self.layout.get(name).ok_or_else(|| unknown("persistent value", name))?;
        self.write_slot(slot, name, data)
    }

    /// Reads the persistent value `name`.
    ///
    /// # Errors
    /// If there is no such value.
    pub fn read_persistent(&self, name: &str) -> Result<Vec<f32>> {
        let slot = self.layout.get(name).ok_or_else(|| unknown("persistent value", name))?;
        let mut data = vec![0.0; slot.shape.len()];
        self.read_slot(slot, name, &mut data)?;
        Ok(data)
    }

    /// Reads the persistent value `name`, a scalar; allocates nothing.
    ///
    /// # Errors
    /// If there is no such value or it is no scalar.
    pub fn read_scalar(&self, name: &str) -> Result<f32> {
        let slot = self.layout.get(name).ok_or_else(|| unknown("persistent value", name))?;
        let mut data = [0.0];
        self.read_slot(slot, name, &mut data)?;
        Ok(data[0])
    }

    fn write_slot(&mut self, slot: Slot, name: &str, data: &[f32]) -> Result<()> {
        check_data(slot, name, DType::F32, data.len())?;
        self.backend.write(slot, bytemuck::cast_slice(data))
    }

    fn read_slot(&self, slot: Slot, name: &str, data: &mut [f32]) -> Result<()> {
        check_data(slot, name, DType::F32, data.len())?;
        self.backend.read(slot, bytemuck::cast_slice_mut(data))
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::run(format!("no {what} called {name} in this plan"))
}

/// The host's numbers have the slot's type, and are as many as it holds.
fn check_data(slot: Slot, name: &str, dtype: DType, len: usize) -> Result<()> {
    if slot.dtype != dtype {
        return Err(Error::run(format!("{name} is stored as {:?}, not as {dtype:?}", slot.dtype)));
    }
    if slot.shape.len() == len {
        return Ok(());
    }
    Err(Error::run(format!("{name} has shape {:?}, {} numbers, not {len}", slot.shape, slot.shape.len())))
}
