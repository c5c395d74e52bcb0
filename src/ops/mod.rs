//! The operations: one file each, holding its mathematics, its shape rule and its adjoint.
//!
//! The same set of instructions is what a plan holds and what every backend executes; `backend/cpu/<stem>.rs`, `kernels/<stem>.cu`
//! and `tests/ops/<stem>.rs` belong to `ops/<stem>.rs`.
//!
//! The alphabet of all formulas: n image of the batch, (y, x) pixel, (r, s) kernel row and column, ci input channel, co output
//! channel, c channel where there is only one kind.

pub mod adam;
pub mod add;
pub mod assign;
pub mod augment;
pub mod batch_norm;
pub mod cast;
pub mod channel_sum;
pub mod check_finite;
pub mod concat;
pub mod conv2d;
pub mod conv2d_normalised;
pub mod conv_transpose2d;
pub mod dice_bce;
pub mod max_pool2d;
pub mod relu;
pub mod sigmoid;

use crate::error::{Error, Result};
use crate::tape::{DType, Node, Shape, Tape, ValueId};
use std::fmt::Debug;

/// The place of a value in an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    Input(usize),
    Output(usize),
}

/// What the tape and the plan ask of an operation.
pub trait Op: Debug {
    /// The name in messages and profiles, `snake_case`.
    fn name(&self) -> &'static str;

    /// The shape rule: output shapes from input shapes, and the outputs' types in a step without 16-bit types.
    ///
    /// # Errors
    /// If the inputs do not fit; the error names the operation and all shapes.
    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>>;

    /// The type of an input in a step without 16-bit types.
    fn input_type(&self, _index: usize) -> DType {
        DType::F32
    }

    /// Whether an operand may be stored as `half`, f16 or bf16; the arithmetic is f32 all the same. Kernels come in one kind for each type:
    /// within one step all operands that may be are stored so, or none is. Weights beside images of bf16 are f32: the CPU rounds them
    /// when it lays them out for a product.
    fn may_be_half(&self, _operand: Operand, _half: DType) -> bool {
        false
    }

    /// Whether an input is a parameter of the network beside its images: what a device makes of such inputs alone, packed weights say, lasts
    /// as long as they do. `false` where no device makes anything of them.
    fn is_parameter(&self, _input: usize) -> bool {
        false
    }

    /// Records the operations that compute the gradients of the inputs for which `wants` is true, from the upstream gradients of
    /// the outputs (`None`: the output does not influence the loss).
    ///
    /// # Errors
    /// If the operation cannot be differentiated.
    fn adjoint(
        &self,
        _tape: &mut Tape,
        node: &Node,
        _upstream: &[Option<ValueId>],
        _wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        Err(Error::usage(format!("{} has no adjoint", node.instruction.name())))
    }

    /// Whether the outputs are constants for the gradient: nothing is differentiated through the operation, and none is asked for an
    /// adjoint.
    fn is_constant(&self) -> bool {
        false
    }

    /// Floating-point operations (a multiplication and an addition count as two) for these shapes; 0 where nobody counts.
    fn flops(&self, _inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        0
    }
}

/// One instruction: an operation with its attributes. Its inputs and outputs are named by the tape's nodes and the plan's steps,
/// in the order that the operation's own documentation gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    Augment(augment::Augment),
    Conv2d(conv2d::Conv2d),
    Conv2dNormalised(conv2d_normalised::Conv2dNormalised),
    Conv2dDataGrad(conv2d::Conv2dDataGrad),
    Conv2dWeightGrad(conv2d::Conv2dWeightGrad),
    ConvTranspose2d(conv_transpose2d::ConvTranspose2d),
    ConvTranspose2dDataGrad(conv_transpose2d::ConvTranspose2dDataGrad),
    ConvTranspose2dWeightGrad(conv_transpose2d::ConvTranspose2dWeightGrad),
    ChannelSum(channel_sum::ChannelSum),
    BatchNormStatistics(batch_norm::BatchNormStatistics),
    BatchNormUpdate(batch_norm::BatchNormUpdate),
    BatchNormApply(batch_norm::BatchNormApply),
    BatchNormGradReduce(batch_norm::BatchNormGradReduce),
    BatchNormGradApply(batch_norm::BatchNormGradApply),
    Relu(relu::Relu),
    ReluGrad(relu::ReluGrad),
    MaxPool2d(max_pool2d::MaxPool2d),
    MaxPool2dGrad(max_pool2d::MaxPool2dGrad),
    Add(add::Add),
    Concat(concat::Concat),
    Split(concat::Split),
    Sigmoid(sigmoid::Sigmoid),
    Assign(assign::Assign),
    DiceBce(dice_bce::DiceBce),
    DiceBceGrad(dice_bce::DiceBceGrad),
    Adam(adam::Adam),
    Cast(cast::Cast),
    CheckFinite(check_finite::CheckFinite),
}

impl Instruction {
    /// The operation behind the instruction.
    pub fn op(&self) -> &dyn Op {
        match self {
            Instruction::Augment(op) => op,
            Instruction::Conv2d(op) => op,
            Instruction::Conv2dNormalised(op) => op,
            Instruction::Conv2dDataGrad(op) => op,
            Instruction::Conv2dWeightGrad(op) => op,
            Instruction::ConvTranspose2d(op) => op,
            Instruction::ConvTranspose2dDataGrad(op) => op,
            Instruction::ConvTranspose2dWeightGrad(op) => op,
            Instruction::ChannelSum(op) => op,
            Instruction::BatchNormStatistics(op) => op,
            Instruction::BatchNormUpdate(op) => op,
            Instruction::BatchNormApply(op) => op,
            Instruction::BatchNormGradReduce(op) => op,
            Instruction::BatchNormGradApply(op) => op,
            Instruction::Relu(op) => op,
            Instruction::ReluGrad(op) => op,
            Instruction::MaxPool2d(op) => op,
            Instruction::MaxPool2dGrad(op) => op,
            Instruction::Add(op) => op,
            Instruction::Concat(op) => op,
            Instruction::Split(op) => op,
            Instruction::Sigmoid(op) => op,
            Instruction::Assign(op) => op,
            Instruction::DiceBce(op) => op,
            Instruction::DiceBceGrad(op) => op,
            Instruction::Adam(op) => op,
            Instruction::Cast(op) => op,
            Instruction::CheckFinite(op) => op,
        }
    }

    /// Shapes and types of the outputs, from those of the inputs: the operation's shape rule, and the rule about 16 bits
    /// ([`Op::may_be_half`]).
    ///
    /// # Errors
    /// If shapes or types do not fit; the error names the operation and what it was given.
    pub fn infer(&self, inputs: &[(Shape, DType)]) -> Result<Vec<(Shape, DType)>> {
        let op = self.op();
        let shapes: Vec<Shape> = inputs.iter().map(|(shape, _)| *shape).collect();
        let mut outputs = op.infer(&shapes)?;
        let is_half = |(i, (_, dtype)): &(usize, &(Shape, DType))| dtype.is_half() && op.may_be_half(Operand::Input(*i), *dtype);
        let half = inputs.iter().enumerate().find(is_half).map(|(_, (_, dtype))| *dtype);
        let expected = |i| half.filter(|half| op.may_be_half(Operand::Input(i), *half)).unwrap_or_else(|| op.input_type(i));
        if let Some(wrong) = (0..inputs.len()).find(|&i| inputs[i].1 != expected(i)) {
            let types: Vec<DType> = inputs.iter().map(|(_, dtype)| *dtype).collect();
            let name = op.name();
            return Err(Error::usage(format!("{name}: input {wrong} should be {:?}; found types {types:?}", expected(wrong))));
        }
        for (i, (_, dtype)) in outputs.iter_mut().enumerate() {
            if let Some(half) = half.filter(|half| op.may_be_half(Operand::Output(i), *half)) {
                *dtype = half;
            }
        }
        Ok(outputs)
    }

    /// The operation's name.
    pub fn name(&self) -> &'static str {
        self.op().name()
    }

    /// Whether it is a convolution or a gradient of one.
    pub fn multiplies_matrices(&self) -> bool {
        matches!(
            self,
            Instruction::Conv2d(_)
                | Instruction::Conv2dNormalised(_)
                | Instruction::Conv2dDataGrad(_)
                | Instruction::Conv2dWeightGrad(_)
                | Instruction::ConvTranspose2d(_)
                | Instruction::ConvTranspose2dDataGrad(_)
                | Instruction::ConvTranspose2dWeightGrad(_)
        )
    }
}

/// An error about shapes that do not fit, worded the same way by every operation.
pub(crate) fn shape_error(name: &str, inputs: &[Shape], expected: &str) -> Error {
    Error::usage(format!("{name}: expected {expected}, found shapes {inputs:?}"))
}
