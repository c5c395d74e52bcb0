//! The CPU backend: rayon over shapes, SIMD chosen at run time.
//!
//! Every output has one writer, and sums go in an order that the shape alone decides, also where work is cut by the number of threads. So
//! results do not depend on that number, only on the SIMD level ([`Level`]), the way of the convolutions ([`Convolutions`]) and the plan's
//! precision.

mod adam;
mod add;
mod arena;
mod assign;
mod augment;
mod batch_norm;
mod bf16_products;
mod cast;
mod channel_sum;
mod check_finite;
mod columns;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod dice_bce;
mod elementary;
mod gemm;
mod machine;
mod map;
mod max_pool2d;
mod pool;
mod prepared;
mod relu;
mod sigmoid;
mod simd;
#[cfg(test)]
mod tests;
mod weight_grad;
mod winograd;

use super::Backend;
use crate::error::{Error, Result};
use crate::ops::Instruction;
use crate::plan::{Plan, Precision, Request, Scratch, Slot, Step};
use crate::tape::DType;
use arena::{Arena, Operands};
use half::bf16;
pub use machine::Machine;
use pool::Pool;
use prepared::PreparedPlan;
pub use simd::Level;
use simd::Stored;
use std::time::Instant;

/// The environment variable that chooses how convolutions are computed: [`Convolutions`].
pub const CONVOLUTIONS_VARIABLE: &str = "UNET_ENGINE_CONVOLUTIONS";

/// How convolutions 3x3 are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convolutions {
    /// Each product of the definition.
    Direct,
    /// A quarter of the products where that is faster: Winograd's F(4x4, 3x3), with a larger rounding error.
    Winograd,
}

impl Convolutions {
    /// What `UNET_ENGINE_CONVOLUTIONS` says, `direct` or `winograd`; Winograd's way where it is not set.
    ///
    /// # Errors
    /// If the variable has another value.
    pub fn choose() -> Result<Convolutions> {
        match std::env::var_os(CONVOLUTIONS_VARIABLE) {
            None => Ok(Convolutions::Winograd),
            Some(name) => Convolutions::parse(&name.to_string_lossy()),
        }
    }

    fn parse(name: &str) -> Result<Convolutions> {
        [Convolutions::Direct, Convolutions::Winograd].into_iter().find(|way| way.name() == name).ok_or_else(|| {
            Error::usage(format!("{CONVOLUTIONS_VARIABLE}={name} names no way to compute convolutions"))
                .remedy("use direct or winograd")
        })
    }

    /// `direct` or `winograd`.
    pub fn name(self) -> &'static str {
        match self {
            Convolutions::Direct => "direct",
            Convolutions::Winograd => "winograd",
        }
    }
}

/// A CPU backend with `threads` threads (0: as many as cores), as [`Level::choose`] and [`Convolutions::choose`] say.
///
/// # Errors
/// If the thread pool cannot be started, or an environment variable asks for what is not there.
pub fn open(threads: usize) -> Result<Box<dyn Backend>> {
    open_with(Level::choose()?, Convolutions::choose()?, threads)
}

/// As [`open`], at a given level.
///
/// # Errors
/// If the thread pool cannot be started or this CPU lacks the level.
pub fn open_with(level: Level, convolutions: Convolutions, threads: usize) -> Result<Box<dyn Backend>> {
    let (level, pool) = (Level::parse(level.name())?, Pool::new(threads)?);
    let settings = Settings { level, threads: pool.threads(), winograd: convolutions == Convolutions::Winograd };
    Ok(Box::new(Cpu { settings, pool, arena: Arena::new(0, 0)?, prepared: PreparedPlan::default() }))
}

/// What is fixed when a backend is opened.
#[derive(Clone, Copy)]
struct Settings {
    level: Level,
    /// Of the pool: some workspaces are one a thread. Results do not depend on it.
    threads: usize,
    winograd: bool,
}

/// What the bits of results depend on.
fn architecture(settings: Settings) -> String {
    let way = if settings.winograd { Convolutions::Winograd } else { Convolutions::Direct };
    format!("{}, {}", settings.level.name(), way.name())
}

/// What [`open`] would compute with, such as `avx2, winograd`.
///
/// # Errors
/// If an environment variable asks for what is not there.
pub fn chosen() -> Result<String> {
    let (level, way) = (Level::choose()?, Convolutions::choose()?);
    Ok(architecture(Settings { level, threads: 1, winograd: way == Convolutions::Winograd }))
}

struct Cpu {
    settings: Settings,
    pool: Pool,
    arena: Arena,
    prepared: PreparedPlan,
}

impl Backend for Cpu {
    fn describe(&self) -> String {
        let plural = if self.pool.threads() == 1 { "" } else { "s" };
        format!("cpu ({}, {} thread{plural})", self.settings.level.name(), self.pool.threads())
    }

    fn architecture(&self) -> String {
        architecture(self.settings)
    }

    fn normalises_convolutions(&self) -> bool {
        true
    }

    fn inference_precision(&self, calibrated: Precision) -> Precision {
        if calibrated == self.settings.level.precision() { calibrated } else { Precision::F32 }
    }

    fn scratch(&self, request: &Request<'_>) -> Scratch {
        match request.half {
            Some(DType::Bf16) if request.instruction.multiplies_matrices() => bf16_products::scratch(self.settings, request),
            _ => scratch(self.settings, request),
        }
    }

    fn check(&self, plan: &Plan) -> Result<()> {
        // A cast is the border to f16 and has kernels for both sides of it, but none to bf16.
        let has = |step: &Step, dtype| step.inputs.iter().chain(&step.outputs).any(|slot| slot.dtype == dtype);
        let is_foreign =
            |step: &&Step| has(step, DType::F16) && (has(step, DType::Bf16) || !matches!(step.instruction, Instruction::Cast(_)));
        match plan.steps().iter().find(is_foreign) {
            None => Ok(()),
            Some(step) => {
                let name = step.instruction.name();
                Err(Error::device(format!("mixed precision needs a CUDA device: the CPU has no {name} on f16"))
                    .remedy("use --precision f32 or bf16, or --device cuda on a machine with an NVIDIA GPU"))
            }
        }
    }

    fn allocate(&mut self, persistent_bytes: usize, transient_bytes: usize) -> Result<()> {
        self.prepared.forget();
        self.arena = Arena::new(persistent_bytes, transient_bytes)?;
        Ok(())
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        self.prepared.note_write(slot);
        self.arena.bytes_mut(slot).copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, slot: Slot, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(self.arena.bytes(slot));
        Ok(())
    }

    fn run(&mut self, plan: &Plan) -> Result<()> {
        self.check(plan)?;
        let (settings, arena, is_ready) = (self.settings, &mut self.arena, self.prepared.begin(plan));
        self.pool.run(&mut || plan.steps().iter().for_each(|step| execute(settings, step, arena, is_ready)));
        self.prepared.end(plan);
        Ok(())
    }

    fn run_profiled(&mut self, plan: &Plan, seconds: &mut Vec<f64>) -> Result<()> {
        self.check(plan)?;
        let (settings, arena, is_ready) = (self.settings, &mut self.arena, self.prepared.begin(plan));
        self.pool.run(&mut || {
            for step in plan.steps() {
                let start = Instant::now();
                execute(settings, step, arena, is_ready);
                seconds.push(start.elapsed().as_secs_f64());
            }
        });
        self.prepared.end(plan);
        Ok(())
    }
}

fn scratch(settings: Settings, request: &Request<'_>) -> Scratch {
    let (level, inputs) = (settings.level, request.inputs);
    Scratch::workspace(match request.instruction {
        Instruction::Augment(op) => augment::workspace(op, inputs[0]),
        Instruction::Conv2d(_) => return conv2d::forward_scratch(settings, request),
        Instruction::Conv2dNormalised(_) => return conv2d::normalised_scratch(settings, request),
        Instruction::Conv2dDataGrad(op) => conv2d::data_grad_workspace(settings, op, inputs),
        Instruction::Conv2dWeightGrad(op) => weight_grad::conv2d_workspace(settings, op.kernel, inputs),
        Instruction::ConvTranspose2d(_) => return conv_transpose2d::forward_scratch(level, request),
        Instruction::ConvTranspose2dDataGrad(_) => conv_transpose2d::data_grad_workspace(level, inputs),
        Instruction::ConvTranspose2dWeightGrad(_) => weight_grad::conv_transpose2d_workspace(level, inputs),
        Instruction::ChannelSum(_) => channel_sum::workspace(inputs[0]),
        Instruction::BatchNormStatistics(_) => batch_norm::reduce_workspace(inputs[0]),
        Instruction::BatchNormGradReduce(_) => batch_norm::grad_reduce_workspace(inputs[0]),
        Instruction::BatchNormApply(_) | Instruction::BatchNormGradApply(_) => batch_norm::apply_workspace(inputs[0]),
        Instruction::DiceBce(_) => dice_bce::workspace(inputs[0]),
        Instruction::DiceBceGrad(_) => dice_bce::grad_workspace(inputs[1]),
        _ => 0,
    })
}

fn execute(settings: Settings, step: &Step, arena: &mut Arena, is_ready: bool) {
    let operands = &mut arena.operands(step, is_ready);
    match step.half_type() {
        Some(DType::Bf16) if step.instruction.multiplies_matrices() => bf16_products::run(settings, &step.instruction, operands),
        Some(DType::Bf16) => execute_on::<bf16>(settings, &step.instruction, operands),
        _ => execute_on::<f32>(settings, &step.instruction, operands),
    }
}

/// Runs an instruction on images that are stored as `T`. Products of matrices are those of f32.
fn execute_on<T: Stored>(settings: Settings, instruction: &Instruction, operands: &mut Operands) {
    let level = settings.level;
    match instruction {
        Instruction::Augment(op) => augment::run(op, operands),
        Instruction::Conv2d(op) => conv2d::forward(settings, op, operands),
        Instruction::Conv2dNormalised(op) => conv2d::normalised(settings, op, operands),
        Instruction::Conv2dDataGrad(op) => conv2d::data_grad(settings, op, operands),
        Instruction::Conv2dWeightGrad(op) => weight_grad::conv2d(settings, op.kernel, operands),
        Instruction::ConvTranspose2d(_) => conv_transpose2d::forward(level, operands),
        Instruction::ConvTranspose2dDataGrad(_) => conv_transpose2d::data_grad(level, operands),
        Instruction::ConvTranspose2dWeightGrad(_) => weight_grad::conv_transpose2d(level, operands),
        Instruction::ChannelSum(_) => channel_sum::run::<T>(level, operands),
        Instruction::BatchNormStatistics(_) => batch_norm::statistics::<T>(level, operands),
        Instruction::BatchNormUpdate(op) => batch_norm::update(op, operands),
        Instruction::BatchNormApply(op) => batch_norm::apply::<T>(level, op, operands),
        Instruction::BatchNormGradReduce(op) => batch_norm::grad_reduce::<T>(level, op, operands),
        Instruction::BatchNormGradApply(op) => batch_norm::grad_apply::<T>(level, op, operands),
        Instruction::Relu(_) => relu::forward::<T>(level, operands),
        Instruction::ReluGrad(_) => relu::grad::<T>(level, operands),
        Instruction::MaxPool2d(_) => max_pool2d::forward::<T>(level, operands),
        Instruction::MaxPool2dGrad(_) => max_pool2d::grad::<T>(level, operands),
        Instruction::Add(_) => add::run::<T>(level, operands),
        Instruction::Concat(_) => concat::concat::<T>(operands),
        Instruction::Split(_) => concat::split::<T>(operands),
        Instruction::Sigmoid(_) => sigmoid::run(level, operands),
        Instruction::Assign(op) => assign::run(op.assignment, operands),
        Instruction::DiceBce(op) => dice_bce::forward(level, &op.parameters, operands),
        Instruction::DiceBceGrad(op) => dice_bce::grad(level, &op.parameters, operands),
        Instruction::Adam(op) => adam::run(level, op, operands),
        Instruction::Cast(_) => cast::run(level, operands),
        Instruction::CheckFinite(_) => check_finite::run(operands),
    }
}
