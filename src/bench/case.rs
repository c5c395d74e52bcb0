//! What is measured: every layer shape and pass of a network, read off its own training step.

use crate::error::Result;
use crate::model::{Arch, NetworkSpec, Target};
use crate::ops::Instruction;
use crate::ops::augment::{Augment, Pictures};
use crate::ops::dice_bce::LossParameters;
use crate::plan::{self, PlanOptions, Precision};
use crate::tape::{DType, Node, Residence, Shape, Tape, ValueId};
use serde::Serialize;

/// A network whose layers are measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    pub spec: NetworkSpec,
    pub size: usize,
    pub batch: usize,
    pub precision: Precision,
}

/// The networks of `bench kernels --all`: three architectures, two widths, two sizes, two precisions.
pub fn all_networks() -> Vec<Network> {
    let mut networks = Vec::new();
    for precision in [Precision::Mixed, Precision::F32] {
        for arch in [Arch::Standard, Arch::Deep, Arch::Residual] {
            for (base, size) in [(64, 512), (64, 256), (32, 512), (32, 256)] {
                let spec = NetworkSpec { arch, base, levels: NetworkSpec::default_levels(arch), channels_in: 1, channels_out: 1 };
                networks.push(Network { spec, size, batch: 8, precision });
            }
        }
    }
    networks
}

/// One instruction with the shapes and types of its operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub instruction: Instruction,
    pub inputs: Vec<(Shape, DType)>,
    pub outputs: Vec<(Shape, DType)>,
    /// Whether the outputs are updated where they lie: persistent values.
    pub in_place: bool,
    /// How often it occurs in one training step of the first network that has it.
    pub calls: usize,
}

/// Which convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Stride 1, same padding.
    Conv2d,
    /// Kernel 2x2, stride 2, up.
    ConvTranspose2d,
}

/// Which of its three products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    Forward,
    DataGrad,
    WeightGrad,
}

/// The geometry of a convolution, the same for its three passes. Layer input [n, height, width, sum of `channels_in`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Convolution {
    pub kind: Kind,
    pub pass: Pass,
    pub kernel: usize,
    pub n: usize,
    pub height: usize,
    pub width: usize,
    /// Of the two images whose channels follow one another; the second may have none.
    pub channels_in: [usize; 2],
    pub channels_out: usize,
    /// Whether images and weights are stored as f16.
    pub half: bool,
}

impl Convolution {
    pub fn ci(&self) -> usize {
        self.channels_in[0] + self.channels_in[1]
    }

    /// The layer's input.
    pub fn x(&self) -> Shape {
        Shape::image(self.n, self.height, self.width, self.ci())
    }

    /// The layer's output.
    pub fn y(&self) -> Shape {
        let up = if self.kind == Kind::ConvTranspose2d { 2 } else { 1 };
        Shape::image(self.n, up * self.height, up * self.width, self.channels_out)
    }

    /// [R, S, Ci, Co].
    pub fn w(&self) -> Shape {
        Shape([self.kernel, self.kernel, self.ci(), self.channels_out])
    }

    /// Every pass multiplies each weight once for each pixel of the layer's input.
    pub fn flops(&self) -> u64 {
        2 * self.w().len() as u64 * self.x().pixels() as u64
    }
}

impl Case {
    /// Of node `node` of a tape that a plan would run.
    fn of(tape: &Tape, node: &Node) -> Case {
        let persistent = |v: &ValueId| matches!(tape.values()[v.index()].residence, Residence::Persistent(_));
        Case {
            instruction: node.instruction.clone(),
            inputs: tape.kinds(&node.inputs),
            outputs: tape.kinds(&node.outputs),
            in_place: node.outputs.iter().any(persistent),
            calls: 1,
        }
    }

    fn is_like(&self, other: &Case) -> bool {
        (&self.instruction, &self.inputs, &self.outputs) == (&other.instruction, &other.inputs, &other.outputs)
    }

    /// The shapes of operands.
    fn shapes(operands: &[(Shape, DType)]) -> Vec<Shape> {
        operands.iter().map(|(shape, _)| *shape).collect()
    }

    /// Floating-point operations.
    pub fn flops(&self) -> u64 {
        self.instruction.op().flops(&Self::shapes(&self.inputs), &Self::shapes(&self.outputs))
    }

    /// The fewest bytes that have to move: every operand once, those that are updated twice.
    pub fn bytes(&self) -> u64 {
        let sum =
            |operands: &[(Shape, DType)]| operands.iter().map(|(shape, dtype)| (shape.len() * dtype.size()) as u64).sum::<u64>();
        sum(&self.inputs) + if self.in_place { 2 } else { 1 } * sum(&self.outputs)
    }

    /// Whether any operand is stored as f16.
    pub fn half(&self) -> bool {
        self.inputs.iter().chain(&self.outputs).any(|(_, dtype)| *dtype == DType::F16)
    }

    /// Whether its products are of f16 numbers, which tensor cores take.
    pub fn on_tensor_cores(&self) -> bool {
        self.convolution().is_some_and(|convolution| convolution.half)
    }

    /// Its geometry if it is a convolution.
    pub fn convolution(&self) -> Option<Convolution> {
        use Instruction as I;
        let inputs = Self::shapes(&self.inputs);
        let of = |kind, pass, x: &[Shape], w: Shape| Convolution {
            kind,
            pass,
            kernel: w.0[0],
            n: x[0].n(),
            height: x[0].h(),
            width: x[0].w(),
            channels_in: [x[0].c(), x.get(1).map_or(0, Shape::c)],
            channels_out: w.c(),
            half: self.half(),
        };
        let outputs = Self::shapes(&self.outputs);
        match &self.instruction {
            I::Conv2d(op) => Some(of(Kind::Conv2d, Pass::Forward, &inputs[1..2 + usize::from(op.two_inputs)], inputs[0])),
            I::Conv2dDataGrad(_) => Some(of(Kind::Conv2d, Pass::DataGrad, &outputs, inputs[0])),
            I::Conv2dWeightGrad(_) => Some(of(Kind::Conv2d, Pass::WeightGrad, &inputs[1..], outputs[0])),
            I::ConvTranspose2d(_) => Some(of(Kind::ConvTranspose2d, Pass::Forward, &inputs[1..2], inputs[0])),
            I::ConvTranspose2dDataGrad(_) => Some(of(Kind::ConvTranspose2d, Pass::DataGrad, &outputs, inputs[0])),
            I::ConvTranspose2dWeightGrad(_) => Some(of(Kind::ConvTranspose2d, Pass::WeightGrad, &inputs[1..], outputs[0])),
            _ => None,
        }
    }

    /// What it is called in tables, and what rows of other programs are matched by: `conv2d 3x3 512x512 64+64 -> 64 n8 f16`.
    pub fn id(&self) -> String {
        let (name, dtype) = (self.instruction.name(), if self.half() { "f16" } else { "f32" });
        if let Some(c) = self.convolution() {
            let [c0, c1] = c.channels_in;
            let channels = if c1 > 0 { format!("{c0}+{c1}") } else { c0.to_string() };
            let Convolution { kernel, height, width, channels_out, n, .. } = c;
            return format!("{name} {kernel}x{kernel} {height}x{width} {channels} -> {channels_out} n{n} {dtype}");
        }
        let [n, h, w, c] =
            self.inputs.iter().chain(&self.outputs).map(|(s, _)| s).max_by_key(|s| s.len()).map_or([0; 4], |s| s.0);
        format!("{name} {h}x{w}x{c} n{n} {dtype}")
    }
}

/// The training step of a network, as a plan runs it.
///
/// # Errors
/// If the network cannot be recorded.
pub fn training_step(network: &Network) -> Result<Tape> {
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let augment = Augment { height: network.size, width: network.size, spacing: 32.0 };
    // Pictures as large as the input, and the control points where they are by default.
    let pictures = Pictures { augment, content: network.size * network.size, labels: network.size * network.size };
    let tape = network.spec.record_augmented_training(network.batch, &pictures, loss, Target::Given)?;
    Ok(plan::rewrite(&tape, PlanOptions { fuse: true, precision: network.precision }))
}

/// The different cases of the networks' training steps: convolutions first, in the order of the step. Of the other instructions every
/// shape, or without `all_others` the largest of each.
///
/// # Errors
/// If a network cannot be recorded.
pub fn cases(networks: &[Network], all_others: bool) -> Result<Vec<Case>> {
    let (mut convolutions, mut others) = (Vec::new(), Vec::new());
    for network in networks {
        let tape = training_step(network)?;
        let mut found: Vec<Case> = Vec::new();
        for case in tape.nodes().iter().map(|node| Case::of(&tape, node)) {
            match found.iter_mut().find(|known| known.is_like(&case)) {
                Some(known) => known.calls += 1,
                None => found.push(case),
            }
        }
        for case in found {
            let list = if case.convolution().is_some() { &mut convolutions } else { &mut others };
            if !list.iter().any(|known: &Case| known.is_like(&case)) {
                list.push(case);
            }
        }
    }
    if !all_others {
        others = largest_of_each(&others);
    }
    convolutions.append(&mut others);
    Ok(convolutions)
}

fn largest_of_each(cases: &[Case]) -> Vec<Case> {
    let mut largest: Vec<Case> = Vec::new();
    for case in cases {
        match largest.iter_mut().find(|other| other.instruction.name() == case.instruction.name()) {
            Some(other) if other.bytes() >= case.bytes() => {}
            Some(other) => *other = case.clone(),
            None => largest.push(case.clone()),
        }
    }
    largest
}

#[cfg(test)]
mod tests;
