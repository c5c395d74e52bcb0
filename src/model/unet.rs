//! The three U-Nets, recorded.
//!
//! ```text
//! level k = 0 .. levels - 1, channels c_k = base 2^k; the bottleneck (`mid`) has base 2^levels
//! down.k:  x -> block(c_k) = skip_k -> max-pool 2x2
//! mid:     x -> block(c_levels)
//! up.i:    x -> transposed convolution to c_k, k = levels - 1 - i
//! dec.i:   concat(skip_k, x) -> block(c_k)
//! head:    1x1 convolution with bias to K logits
//!
//! block:   relu(bn(conv3x3(relu(bn(conv3x3(x))))))
//! residual block: relu(bn(conv3x3(relu(bn(conv3x3(x))))) + shortcut),  shortcut = x, or bn(conv1x1(x)) where channels change
//! ```

use super::{Arch, NetworkSpec, Parameter, ParameterKind, Target};
use crate::error::{Error, Result};
use crate::ops::Instruction;
use crate::ops::adam::Adam;
use crate::ops::add::Add;
use crate::ops::assign::Assign;
use crate::ops::augment::Pictures;
use crate::ops::batch_norm::{BatchNormApply, BatchNormStatistics, BatchNormUpdate};
use crate::ops::concat::Concat;
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::Conv2d;
use crate::ops::dice_bce::{DiceBce, LossParameters};
use crate::ops::max_pool2d::MaxPool2d;
use crate::ops::relu::Relu;
use crate::ops::sigmoid::Sigmoid;
use crate::tape::{DType, Shape, Tape, ValueId};

/// Batch normalisation's epsilon and momentum, PyTorch's defaults.
const EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// Adam's constants, those of its paper.
const ADAM: Adam = Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

pub(super) fn parameters(spec: &NetworkSpec) -> Vec<Parameter> {
    let mut list = ParameterList::default();
    for k in 0..spec.levels {
        let ci = if k == 0 { spec.channels_in } else { spec.channels_at(k - 1) };
        list.block(spec, &format!("down.{k}"), ci, spec.channels_at(k));
    }
    list.block(spec, "mid", spec.channels_at(spec.levels - 1), spec.channels_at(spec.levels));
    for (i, k) in (0..spec.levels).rev().enumerate() {
        let (ci, co) = (spec.channels_at(k + 1), spec.channels_at(k));
        list.push(format!("up.{i}.weight"), Shape([2, 2, ci, co]), ParameterKind::Weight { fan_in: ci });
        list.push(format!("up.{i}.bias"), Shape::channels(co), ParameterKind::Bias);
    }
    for (i, k) in (0..spec.levels).rev().enumerate() {
        list.block(spec, &format!("dec.{i}"), 2 * spec.channels_at(k), spec.channels_at(k));
    }
    list.convolution("head", 1, spec.base, spec.channels_out);
    list.push("head.bias".into(), Shape::channels(spec.channels_out), ParameterKind::Bias);
    list.0
}

#[derive(Default)]
struct ParameterList(Vec<Parameter>);

impl ParameterList {
    fn push(&mut self, name: String, shape: Shape, kind: ParameterKind) {
        self.0.push(Parameter { name, shape, kind });
    }

    fn convolution(&mut self, prefix: &str, kernel: usize, ci: usize, co: usize) {
        let kind = ParameterKind::Weight { fan_in: kernel * kernel * ci };
        self.push(format!("{prefix}.weight"), Shape([kernel, kernel, ci, co]), kind);
    }

    fn batch_norm(&mut self, prefix: &str, c: usize) {
        let parts = [
            ("weight", ParameterKind::Gamma),
            ("bias", ParameterKind::Beta),
            ("running_mean", ParameterKind::RunningMean),
            ("running_var", ParameterKind::RunningVar),
        ];
        for (part, kind) in parts {
            self.push(format!("{prefix}.{part}"), Shape::channels(c), kind);
        }
    }

    fn block(&mut self, spec: &NetworkSpec, prefix: &str, ci: usize, co: usize) {
        self.convolution(&format!("{prefix}.c1"), 3, ci, co);
        self.batch_norm(&format!("{prefix}.b1"), co);
        self.convolution(&format!("{prefix}.c2"), 3, co, co);
        self.batch_norm(&format!("{prefix}.b2"), co);
        if spec.arch == Arch::Residual && ci != co {
            self.convolution(&format!("{prefix}.proj.0"), 1, ci, co);
            self.batch_norm(&format!("{prefix}.proj.1"), co);
        }
    }
}

pub(super) fn record_training(
    spec: &NetworkSpec,
    batch: usize,
    size: [usize; 2],
    loss: LossParameters,
    target: Target,
) -> Result<Tape> {
    record_step(Recorder::new(spec, batch, size, Statistics::OfBatch)?, loss, target)
}

pub(super) fn record_augmented_training(
    spec: &NetworkSpec,
    batch: usize,
    pictures: &Pictures,
    loss: LossParameters,
    target: Target,
) -> Result<Tape> {
    let size = [pictures.augment.height, pictures.augment.width];
    let mut network = Recorder::new(spec, batch, size, Statistics::OfBatch)?;
    if spec.channels_in != 1 {
        return Err(Error::usage(format!("pictures of {} channels cannot be augmented, only grey ones", spec.channels_in)));
    }
    network.augmented = Some(pictures.record(batch, &mut network.tape)?);
    record_step(network, loss, target)
}

/// Records the training step behind its inputs.
fn record_step(mut network: Recorder<'_>, loss: LossParameters, target: Target) -> Result<Tape> {
    let spec = network.spec;
    let image = network.image();
    let logits = network.logits(image)?;
    let loss = network.loss(logits, loss, target)?;
    let mut tape = network.tape;
    let seed = tape.persistent("loss_scale", Shape::scalar());
    let schedule = tape.persistent("schedule", Shape::channels(4));
    let trained: Vec<Parameter> = spec.parameters().into_iter().filter(|p| p.kind.is_trained()).collect();
    let values: Vec<ValueId> = trained.iter().map(|p| tape.persistent(&p.name, p.shape)).collect();
    let gradients = tape.backward(loss, seed, &values)?;
    for (parameter, value) in trained.iter().zip(values) {
        let m = tape.persistent(&format!("{}.m", parameter.name), parameter.shape);
        let v = tape.persistent(&format!("{}.v", parameter.name), parameter.shape);
        tape.record_update(Instruction::Adam(ADAM), &[gradients[&value], schedule], &[value, m, v])?;
    }
    Ok(tape)
}

pub(super) fn record_validation(
    spec: &NetworkSpec,
    batch: usize,
    size: [usize; 2],
    loss: LossParameters,
    target: Target,
) -> Result<Tape> {
    let mut network = Recorder::new(spec, batch, size, Statistics::Running)?;
    let image = network.image();
    let logits = network.logits(image)?;
    network.loss(logits, loss, target)?;
    network.probability(logits)?;
    Ok(network.tape)
}

pub(super) fn record_inference(spec: &NetworkSpec, batch: usize, size: [usize; 2]) -> Result<Tape> {
    let mut network = Recorder::new(spec, batch, size, Statistics::Running)?;
    let image = network.image();
    let logits = network.logits(image)?;
    network.probability(logits)?;
    Ok(network.tape)
}

/// Which mean and variance batch normalisation uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statistics {
    /// The batch's own, and the running ones are updated: training.
    OfBatch,
    /// The running ones: validation and inference.
    Running,
}

/// Records a network's forward pass.
struct Recorder<'a> {
    spec: &'a NetworkSpec,
    batch: usize,
    size: [usize; 2],
    statistics: Statistics,
    tape: Tape,
    /// Image, target (or labels of instances) and weight where the plan makes them; else the host gives them.
    augmented: Option<[ValueId; 3]>,
}

impl<'a> Recorder<'a> {
    fn new(spec: &'a NetworkSpec, batch: usize, size: [usize; 2], statistics: Statistics) -> Result<Self> {
        spec.check_step(batch, size)?;
        check_size(spec, batch, size)?;
        if statistics == Statistics::OfBatch {
            check_bottleneck(spec, batch, size)?;
        }
        Ok(Recorder { spec, batch, size, statistics, tape: Tape::new(), augmented: None })
    }

    fn input(&mut self, name: &str, channels: usize) -> ValueId {
        self.tape.input(name, Shape::image(self.batch, self.size[0], self.size[1], channels), DType::F32)
    }

    fn image(&mut self) -> ValueId {
        self.augmented.map_or_else(|| self.input("image", self.spec.channels_in), |[image, _, _]| image)
    }

    fn logits(&mut self, image: ValueId) -> Result<ValueId> {
        let spec = self.spec;
        let mut x = image;
        let mut skips = Vec::with_capacity(spec.levels);
        for k in 0..spec.levels {
            let skip = self.block(&format!("down.{k}"), x, spec.channels_at(k))?;
            skips.push(skip);
            x = self.tape.record(Instruction::MaxPool2d(MaxPool2d {}), &[skip])?[0];
        }
        x = self.block("mid", x, spec.channels_at(spec.levels))?;
        for (i, skip) in skips.into_iter().rev().enumerate() {
            let co = self.tape.shape(skip).c();
            let up = self.up(&format!("up.{i}"), x, co)?;
            let both = self.tape.record_one(Instruction::Concat(Concat {}), &[skip, up])?;
            x = self.block(&format!("dec.{i}"), both, co)?;
        }
        self.head(x)
    }

    /// A block of two convolutions; residual where the network is.
    fn block(&mut self, prefix: &str, x: ValueId, co: usize) -> Result<ValueId> {
        // The shortcut comes first, so that the backward pass ends with it: its gradient, which is as wide as the block's input,
        // then does not wait through the main branch.
        let shortcut = match self.spec.arch {
            Arch::Standard | Arch::Deep => None,
            Arch::Residual if self.tape.shape(x).c() == co => Some(x),
            Arch::Residual => {
                let projected = self.convolution(&format!("{prefix}.proj.0"), x, 1, co)?;
                Some(self.batch_norm(&format!("{prefix}.proj.1"), projected)?)
            }
        };
        let y = self.convolution(&format!("{prefix}.c1"), x, 3, co)?;
        let y = self.batch_norm(&format!("{prefix}.b1"), y)?;
        let y = self.tape.record_one(Instruction::Relu(Relu {}), &[y])?;
        let y = self.convolution(&format!("{prefix}.c2"), y, 3, co)?;
        let mut y = self.batch_norm(&format!("{prefix}.b2"), y)?;
        if let Some(shortcut) = shortcut {
            y = self.tape.record_one(Instruction::Add(Add {}), &[y, shortcut])?;
        }
        self.tape.record_one(Instruction::Relu(Relu {}), &[y])
    }

    fn convolution(&mut self, prefix: &str, x: ValueId, kernel: usize, co: usize) -> Result<ValueId> {
        let ci = self.tape.shape(x).c();
        let w = self.tape.persistent(&format!("{prefix}.weight"), Shape([kernel, kernel, ci, co]));
        self.tape.record_one(Instruction::Conv2d(Conv2d { two_inputs: false, bias: false }), &[w, x])
    }

    fn batch_norm(&mut self, prefix: &str, x: ValueId) -> Result<ValueId> {
        let shape = self.tape.shape(x);
        let [gamma, beta, running_mean, running_var] = ["weight", "bias", "running_mean", "running_var"]
            .map(|part| self.tape.persistent(&format!("{prefix}.{part}"), Shape::channels(shape.c())));
        let [mean, var] = match self.statistics {
            Statistics::Running => [running_mean, running_var],
            Statistics::OfBatch => {
                let statistics = self.tape.record(Instruction::BatchNormStatistics(BatchNormStatistics {}), &[x])?;
                let update = BatchNormUpdate { momentum: MOMENTUM, count: shape.pixels() };
                let updated = [running_mean, running_var];
                self.tape.record_update(Instruction::BatchNormUpdate(update), &statistics, &updated)?;
                [statistics[0], statistics[1]]
            }
        };
        let apply = BatchNormApply { eps: EPS, residual: false, relu: false };
        self.tape.record_one(Instruction::BatchNormApply(apply), &[x, mean, var, gamma, beta])
    }

    fn up(&mut self, prefix: &str, x: ValueId, co: usize) -> Result<ValueId> {
        let ci = self.tape.shape(x).c();
        let w = self.tape.persistent(&format!("{prefix}.weight"), Shape([2, 2, ci, co]));
        let b = self.tape.persistent(&format!("{prefix}.bias"), Shape::channels(co));
        self.tape.record_one(Instruction::ConvTranspose2d(ConvTranspose2d {}), &[w, x, b])
    }

    fn head(&mut self, x: ValueId) -> Result<ValueId> {
        let (ci, co) = (self.tape.shape(x).c(), self.spec.channels_out);
        let w = self.tape.persistent("head.weight", Shape([1, 1, ci, co]));
        let b = self.tape.persistent("head.bias", Shape::channels(co));
        self.tape.record_one(Instruction::Conv2d(Conv2d { two_inputs: false, bias: true }), &[w, x, b])
    }

    /// Records the loss and makes it and its sums outputs.
    fn loss(&mut self, logits: ValueId, parameters: LossParameters, target: Target) -> Result<ValueId> {
        let augmented = self.augmented;
        let weight = augmented.map_or_else(|| self.input("weight", 1), |[_, _, weight]| weight);
        let target = match target {
            Target::Given => augmented.map_or_else(|| self.input("target", self.spec.channels_out), |[_, target, _]| target),
            Target::Assigned(assignment) => {
                let instances = augmented.map_or_else(|| self.input("instances", 1), |[_, labels, _]| labels);
                self.tape.record_one(Instruction::Assign(Assign { assignment }), &[logits, instances, weight])?
            }
        };
        let outputs = self.tape.record(Instruction::DiceBce(DiceBce { parameters }), &[logits, target, weight])?;
        self.tape.output("loss", outputs[0]);
        self.tape.output("sums", outputs[1]);
        Ok(outputs[0])
    }

    fn probability(&mut self, logits: ValueId) -> Result<()> {
        let probability = self.tape.record_one(Instruction::Sigmoid(Sigmoid {}), &[logits])?;
        self.tape.output("probability", probability);
        Ok(())
    }
}

fn check_size(spec: &NetworkSpec, batch: usize, size: [usize; 2]) -> Result<()> {
    let multiple = spec.size_multiple();
    if batch == 0 {
        return Err(Error::usage("a batch of 0 images").remedy("use --batch 1 or more"));
    }
    match size.iter().find(|&&s| s == 0 || s % multiple != 0) {
        None => Ok(()),
        Some(&wrong) => {
            let (below, above) = (wrong / multiple * multiple, wrong.div_ceil(multiple).max(1) * multiple);
            let use_instead = if below == 0 { format!("{above}") } else { format!("{below} or {above}") };
            let [h, w] = size;
            Err(Error::usage(format!("size {w}x{h}: a network of {} levels takes multiples of {multiple}", spec.levels))
                .remedy(format!("use {use_instead} in place of {wrong}, or fewer levels")))
        }
    }
}

fn check_bottleneck(spec: &NetworkSpec, batch: usize, [h, w]: [usize; 2]) -> Result<()> {
    let multiple = spec.size_multiple();
    if batch * (h / multiple) * (w / multiple) > 1 {
        return Ok(());
    }
    let found = format!("batch {batch} of size {w}x{h} leaves one value per channel below {} levels", spec.levels);
    Err(Error::usage(format!("batch normalisation needs more than one value per channel to train; {found}"))
        .remedy("use a larger size, a larger batch or fewer levels"))
}

#[cfg(test)]
mod tests;
