//! The CUDA backend: kernels written by hand (`kernels/`), run by an NVIDIA GPU or by the emulator in which they are tested.
//!
//! A plan is lowered once: every step becomes launches with their grids, parameters and the memory that they touch (`program.rs`). On a
//! GPU these are captured into one graph, which a run replays. The same GPU and build give the same bits: every sum is cut by shape alone,
//! every output has one writer, and partial sums are added in a fixed order. Tensor cores of another generation add in another order.

mod adam;
mod add;
mod assign;
mod augment;
mod batch_norm;
mod cast;
mod channel_sum;
mod check_finite;
mod columns;
mod concat;
mod conv2d;
mod conv_transpose2d;
pub mod cudnn;
mod dice_bce;
pub mod driver;
mod elementwise;
pub mod images;
mod implicit_gemm;
mod max_pool2d;
mod narrow;
mod probe;
mod program;
mod relu;
mod rows;
mod sigmoid;
mod weight_grad;

pub use probe::{CudaProbe, Gpu, KERNEL_ARCHITECTURES, KERNEL_COMPILER, probe};

use super::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Instruction;
use crate::plan::{ALIGNMENT, Plan, Request, Scratch, Slot, Step};
use crate::tape::DType;
use driver::{Driver, Emulator};
use program::{Lowering, Program, Regions, Target};
use std::collections::HashMap;
use std::path::Path;

/// A backend on the GPU of this number.
///
/// # Errors
/// If there is no driver, no such GPU, or no kernels for it in this build.
pub fn open(number: usize) -> Result<Box<dyn Backend>> {
    Ok(Box::new(open_gpu(number)?))
}

/// As [`open`], for those who need more of it than any backend has.
///
/// # Errors
/// As [`open`].
pub fn open_gpu(number: usize) -> Result<Cuda<driver::Gpu>> {
    Ok(Cuda::new(driver::Gpu::open(number)?))
}

/// Whether there is a GPU of this number whose kernels this build holds.
///
/// # Errors
/// If `UNET_ENGINE_CUDA_ARCH` wishes for kernels that the build does not hold, or that this GPU does not run.
pub fn is_usable(number: usize) -> Result<bool> {
    if KERNEL_ARCHITECTURES.is_empty() {
        return Ok(false);
    }
    // Before the driver is asked: a mistyped name is one on a machine without a GPU, too.
    images::check_wish(images::wished_target().as_deref())?;
    is_present(driver::Gpu::find(number))
}

/// Whether a device was found. Of what went wrong, only that there is none is an answer.
fn is_present<T>(found: Result<T>) -> Result<bool> {
    match found {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Device => Ok(false),
        Err(error) => Err(error),
    }
}

/// A backend on an emulated GPU; `library` is what `tools/emulator/build` built, `seed` permutes the order in which threads run.
///
/// # Errors
/// If the library cannot be loaded.
pub fn emulate(library: &Path, seed: u64) -> Result<Cuda<Emulator>> {
    Ok(Cuda::new(Emulator::open(library, seed)?))
}

/// A backend over a driver.
pub struct Cuda<D: Driver> {
    driver: D,
    regions: Regions,
    /// Lowered plans, by [`Plan::id`].
    programs: HashMap<u64, Program>,
}

impl<D: Driver> Cuda<D> {
    fn new(driver: D) -> Self {
        Cuda { driver, regions: Regions::default(), programs: HashMap::new() }
    }

    /// What runs the kernels.
    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Runs a plan and says how many seconds the device took for all of its launches together.
    ///
    /// # Errors
    /// As [`Backend::run`].
    pub fn time(&mut self, plan: &Plan) -> Result<f64> {
        self.lower(plan)?;
        self.driver.time(&self.programs[&plan.id()].launches)
    }

    /// Writes zeros over a slot, behind all that was started.
    ///
    /// # Errors
    /// If the device fails.
    pub fn clear(&mut self, slot: Slot) -> Result<()> {
        self.driver.zero(self.regions.address(slot), slot.bytes())
    }

    /// Gives all memory back, but for a little, until the next [`Backend::allocate`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn forget(&mut self) -> Result<()> {
        self.allocate(0, 0)
    }

    fn lower(&mut self, plan: &Plan) -> Result<()> {
        if self.programs.contains_key(&plan.id()) {
            return Ok(());
        }
        let mut program = Program::default();
        let target = Target { architecture: self.driver.architecture(), multiprocessors: self.driver.multiprocessors() };
        for step in plan.steps() {
            let first = program.launches.len();
            lower(step, &mut Lowering::new(step, self.regions, &target, &mut program.launches));
            program.steps.push(first..program.launches.len());
        }
        self.driver.prepare(&program.launches)?;
        self.programs.insert(plan.id(), program);
        Ok(())
    }
}

impl<D: Driver> Drop for Cuda<D> {
    fn drop(&mut self) {
        self.regions.addresses().into_iter().for_each(|address| self.driver.release(address));
    }
}

impl<D: Driver> Backend for Cuda<D> {
    fn describe(&self) -> String {
        self.driver.describe()
    }

    fn architecture(&self) -> String {
        self.driver.architecture()
    }

    fn augments(&self) -> bool {
        true
    }

    fn check(&self, plan: &Plan) -> Result<()> {
        let is_bf16 = |slot: &Slot| slot.dtype == DType::Bf16;
        match plan.steps().iter().find(|step| step.inputs.iter().chain(&step.outputs).any(is_bf16)) {
            None => Ok(()),
            Some(step) => {
                let name = step.instruction.name();
                Err(Error::device(format!("bf16 is the CPU's: the CUDA kernels have no {name} on bf16"))
                    .remedy("use --precision mixed or f32, or --device cpu"))
            }
        }
    }

    fn scratch(&self, request: &Request<'_>) -> Scratch {
        scratch(request)
    }

    fn allocate(&mut self, persistent_bytes: usize, transient_bytes: usize) -> Result<()> {
        self.programs.clear();
        self.driver.forget_graphs();
        std::mem::take(&mut self.regions).addresses().into_iter().for_each(|address| self.driver.release(address));
        // A region of no bytes still has an address.
        let [persistent, transient] = [persistent_bytes, transient_bytes].map(|bytes| bytes.max(ALIGNMENT));
        let address = self.driver.allocate(persistent)?;
        self.regions.persistent = Some((address, persistent));
        self.regions.transient = Some((self.driver.allocate(transient)?, transient));
        self.driver.zero(address, persistent)
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        assert_eq!(bytes.len(), slot.bytes(), "the bytes of {slot:?}");
        self.driver.write(self.regions.address(slot), bytes)
    }

    fn read(&self, slot: Slot, bytes: &mut [u8]) -> Result<()> {
        assert_eq!(bytes.len(), slot.bytes(), "the bytes of {slot:?}");
        self.driver.read(self.regions.address(slot), bytes)
    }

    fn run(&mut self, plan: &Plan) -> Result<()> {
        self.lower(plan)?;
        let program = self.programs.get_mut(&plan.id()).expect("it was just lowered");
        if !program.is_captured {
            program.graph = self.driver.capture(&program.launches)?;
            program.is_captured = true;
        }
        match program.graph {
            Some(graph) => self.driver.replay(graph),
            None => program.launches.iter().try_for_each(|launch| self.driver.launch(launch)),
        }
    }

    fn run_profiled(&mut self, plan: &Plan, seconds: &mut Vec<f64>) -> Result<()> {
        self.lower(plan)?;
        let program = &self.programs[&plan.id()];
        for step in &program.steps {
            seconds.push(self.driver.time(&program.launches[step.clone()])?);
        }
        Ok(())
    }
}

/// The launches of a plan on a GPU that is not there, of so many multiprocessors, with the kernels of `architecture` (`sm_80`): to count what
/// they do.
pub fn launches(plan: &Plan, persistent_bytes: usize, architecture: &str, multiprocessors: usize) -> Vec<driver::Launch> {
    let target = Target { architecture: architecture.into(), multiprocessors };
    // Addresses that nobody follows.
    let regions = Regions { persistent: Some((1 << 40, persistent_bytes)), transient: Some((2 << 40, plan.transient_bytes())) };
    let mut launches = Vec::new();
    plan.steps().iter().for_each(|step| lower(step, &mut Lowering::new(step, regions, &target, &mut launches)));
    launches
}

/// Scratch memory for an instruction.
pub fn scratch(&Request { instruction, inputs, outputs, .. }: &Request<'_>) -> Scratch {
    Scratch::workspace(match instruction {
        Instruction::Conv2dWeightGrad(_) => conv2d::weight_grad_workspace(inputs, outputs[0]),
        Instruction::ConvTranspose2dWeightGrad(_) => conv_transpose2d::weight_grad_workspace(inputs, outputs[0]),
        Instruction::ChannelSum(_) => columns::workspace_bytes(inputs[0], 1),
        Instruction::BatchNormStatistics(_) | Instruction::BatchNormGradReduce(_) => columns::workspace_bytes(inputs[0], 2),
        Instruction::CheckFinite(_) => check_finite::workspace(inputs[0]),
        Instruction::Assign(op) => assign::workspace(op, inputs[0]),
        Instruction::DiceBce(_) => dice_bce::workspace(inputs[0]),
        Instruction::DiceBceGrad(_) => dice_bce::grad_workspace(inputs[1]),
        _ => 0,
    })
}

fn lower(step: &Step, lowering: &mut Lowering<'_>) {
    match &step.instruction {
        Instruction::Augment(op) => augment::run(op, lowering),
        Instruction::Conv2d(op) => conv2d::forward(op, lowering),
        Instruction::Conv2dNormalised(_) => unreachable!("no plan of this device has it"),
        Instruction::Conv2dDataGrad(op) => conv2d::data_grad(op, lowering),
        Instruction::Conv2dWeightGrad(op) => conv2d::weight_grad(op, lowering),
        Instruction::ConvTranspose2d(_) => conv_transpose2d::forward(lowering),
        Instruction::ConvTranspose2dDataGrad(_) => conv_transpose2d::data_grad(lowering),
        Instruction::ConvTranspose2dWeightGrad(_) => conv_transpose2d::weight_grad(lowering),
        Instruction::ChannelSum(_) => channel_sum::run(lowering),
        Instruction::BatchNormStatistics(_) => batch_norm::statistics(lowering),
        Instruction::BatchNormUpdate(op) => batch_norm::update(op, lowering),
        Instruction::BatchNormApply(op) => batch_norm::apply(op, lowering),
        Instruction::BatchNormGradReduce(op) => batch_norm::grad_reduce(op, lowering),
        Instruction::BatchNormGradApply(op) => batch_norm::grad_apply(op, lowering),
        Instruction::Relu(_) => relu::forward(lowering),
        Instruction::ReluGrad(_) => relu::grad(lowering),
        Instruction::MaxPool2d(_) => max_pool2d::forward(lowering),
        Instruction::MaxPool2dGrad(_) => max_pool2d::grad(lowering),
        Instruction::Add(_) => add::run(lowering),
        Instruction::Concat(_) => concat::concat(lowering),
        Instruction::Split(_) => concat::split(lowering),
        Instruction::Sigmoid(_) => sigmoid::run(lowering),
        Instruction::Assign(op) => assign::run(op, lowering),
        Instruction::DiceBce(op) => dice_bce::forward(op, lowering),
        Instruction::DiceBceGrad(op) => dice_bce::grad(op, lowering),
        Instruction::Adam(op) => adam::run(op, lowering),
        Instruction::Cast(_) => cast::run(lowering),
        Instruction::CheckFinite(_) => check_finite::run(lowering),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn only_a_missing_device_is_no_error() {
        assert!(is_present(Ok(())).unwrap());
        assert!(!is_present::<()>(Err(Error::device("no driver"))).unwrap());
        assert_eq!(is_present::<()>(Err(Error::usage("a mistyped name"))).unwrap_err().kind(), ErrorKind::Usage);
    }
}
