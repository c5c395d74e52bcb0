//! The border between plans and devices. A backend executes a plan's instructions in order; it knows no layer and no loss.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod session;

pub use device::{Device, check, check_precision, default_precision, open};
pub use session::{Session, Timing};

use crate::error::Result;
use crate::plan::{Plan, Precision, Request, Scratch, Slot};

/// A device that executes plans.
pub trait Backend: Send {
    /// What it is, in words, for the log: `cpu (AVX2, 2 threads)`.
    fn describe(&self) -> String;

    /// The instruction set or architecture whose bits the results depend on: `avx2`, `sm_90a`. Stored with a run.
    fn architecture(&self) -> String;

    /// Whether a training's plan is to begin with [`crate::ops::augment`]: where that is faster than the threads of the host.
    fn augments(&self) -> bool {
        false
    }

    /// Whether it has [`crate::ops::conv2d_normalised`].
    fn normalises_convolutions(&self) -> bool {
        false
    }

    /// In which numbers a network predicts here whose threshold was chosen in `calibrated`: f32, unless those are what the CPU gains by.
    fn inference_precision(&self, _calibrated: Precision) -> Precision {
        Precision::F32
    }

    /// Scratch memory for an instruction.
    fn scratch(&self, request: &Request<'_>) -> Scratch;

    /// Whether the device has a kernel for every step of a plan, in the types in which the step stores its values. Asked when a session
    /// is planned, before anything is allocated.
    ///
    /// # Errors
    /// If it lacks one.
    fn check(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// Allocates both regions, each 64-byte aligned: the only allocation of a run. The persistent region is zeroed.
    ///
    /// # Errors
    /// If the memory is not there.
    fn allocate(&mut self, persistent_bytes: usize, transient_bytes: usize) -> Result<()>;

    /// Copies bytes from the host into a slot (little-endian f32, f16, bf16 or u8, contiguous; exactly the slot's size).
    ///
    /// # Errors
    /// If the device fails.
    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<()>;

    /// Copies a slot's bytes to the host.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self, slot: Slot, bytes: &mut [u8]) -> Result<()>;

    /// Runs all of a plan's steps in order. Allocates nothing.
    ///
    /// # Errors
    /// If the device fails.
    fn run(&mut self, plan: &Plan) -> Result<()>;

    /// As [`Backend::run`], with the seconds of each step pushed to `seconds` (for `--profile`).
    ///
    /// # Errors
    /// If the device fails.
    fn run_profiled(&mut self, plan: &Plan, seconds: &mut Vec<f64>) -> Result<()>;
}
