//! Batch normalisation (Ioffe and Szegedy 2015, algorithms 1 and 2), with ReLU and a residual sum as optional tail.
//!
//! ```text
//! mean[c] = 1/M sum of x[.., c],   var[c] = 1/M sum of (x[.., c] - mean[c])^2,   M = N H W      (statistics)
//! xhat = (x - mean) / sqrt(var + eps)
//! z    = gamma xhat + beta (+ residual),   y = z or max(z, 0)                                  (apply)
//! running_mean <- (1 - momentum) running_mean + momentum mean
//! running_var  <- (1 - momentum) running_var  + momentum var M / (M - 1)                        (update, as PyTorch)
//!
//! dz = dy where y > 0 (with ReLU), else dy                             dresidual = dz
//! dbeta = sum of dz,   dgamma = sum of dz xhat                                                  (grad_reduce)
//! dx = gamma / sqrt(var + eps) (dz - dbeta / M - xhat dgamma / M)                               (grad_apply)
//! ```
//!
//! The statistics are part of the differentiated function: `grad_apply` includes the derivatives of mean and var. With fixed
//! (running) statistics nothing is differentiated; inference only.

use super::check_finite::is_flag;
use super::{Instruction, Op, Operand, shape_error};
use crate::error::{Error, Result};
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Input: x [N, H, W, C]. Outputs: mean `[C]`, var `[C]` (biased).
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormStatistics {}

/// Inputs: mean `[C]`, var `[C]` (biased), and overflow [1, 1, 1, 1] where there is one: if it is not 0, all stays as it was (see
/// [`super::check_finite`]). Updates in place: running_mean `[C]`, running_var `[C]`. `count` is M, the values per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormUpdate {
    pub momentum: f32,
    pub count: usize,
}

/// Inputs: x [N, H, W, C], mean `[C]`, var `[C]`, gamma `[C]`, beta `[C]`, then residual [N, H, W, C] if `residual`. Output: y [N, H, W, C].
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormApply {
    pub eps: f32,
    pub residual: bool,
    pub relu: bool,
}

/// Inputs: dy [N, H, W, C], x [N, H, W, C], mean `[C]`, var `[C]`, then y [N, H, W, C] if `relu`. Outputs: dgamma `[C]`, dbeta `[C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGradReduce {
    pub eps: f32,
    pub relu: bool,
}

/// Inputs: dy, x [N, H, W, C], mean, var, gamma, dgamma, dbeta `[C]`, then y [N, H, W, C] if `relu`. Outputs: dx [N, H, W, C] and,
/// if `residual`, dresidual [N, H, W, C].
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGradApply {
    pub eps: f32,
    pub residual: bool,
    pub relu: bool,
}

/// Whether all of `vectors` are channel vectors of `x`.
fn fit_channels(x: Shape, vectors: &[Shape]) -> bool {
    vectors.iter().all(|v| *v == Shape::channels(x.c()))
}

impl Op for BatchNormStatistics {
    fn name(&self) -> &'static str {
        "batch_norm_statistics"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [x] if x.pixels() > 1 => Ok(vec![(Shape::channels(x.c()), DType::F32); 2]),
            _ => Err(shape_error(self.name(), inputs, "one image with more than one value per channel")),
        }
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(_))
    }

    /// The derivative through the statistics belongs to `batch_norm_apply`, which takes both together.
    fn adjoint(
        &self,
        _tape: &mut Tape,
        _node: &Node,
        _upstream: &[Option<ValueId>],
        _wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        Ok(vec![None])
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

impl Op for BatchNormUpdate {
    fn name(&self) -> &'static str {
        "batch_norm_update"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [mean, var, overflow @ ..] if mean == var && self.count > 1 && is_flag(overflow) => Ok(vec![(*mean, DType::F32); 2]),
            _ => Err(shape_error(self.name(), inputs, "mean and var of one shape, over more than one value, and a flag or none")),
        }
    }
}

/// Whether mean and var were computed from x on this tape, which the gradient formula assumes.
fn are_statistics_of(tape: &Tape, x: ValueId, mean_and_var: [ValueId; 2]) -> bool {
    let is_source =
        |n: &Node| matches!(n.instruction, Instruction::BatchNormStatistics(_)) && n.inputs == [x] && n.outputs == mean_and_var;
    tape.nodes().iter().any(is_source)
}

impl Op for BatchNormApply {
    fn name(&self) -> &'static str {
        "batch_norm_apply"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let n = 5 + usize::from(self.residual);
        if inputs.len() != n || !fit_channels(inputs[0], &inputs[1..5]) || (self.residual && inputs[5] != inputs[0]) {
            return Err(shape_error(self.name(), inputs, "x, mean, var, gamma, beta over its channels, and a residual like x"));
        }
        Ok(vec![(inputs[0], DType::F32)])
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(0 | 5) | Operand::Output(_))
    }

    fn adjoint(
        &self,
        tape: &mut Tape,
        node: &Node,
        upstream: &[Option<ValueId>],
        wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None; node.inputs.len()]) };
        let [x, mean, var, gamma] = node.inputs[..4] else { unreachable!("checked when recorded") };
        if !are_statistics_of(tape, x, [mean, var]) {
            return Err(Error::usage("batch_norm_apply: with fixed statistics it is for inference and has no adjoint"));
        }
        let mask = self.relu.then_some(node.outputs[0]);
        let reduce = Instruction::BatchNormGradReduce(BatchNormGradReduce { eps: self.eps, relu: self.relu });
        let inputs: Vec<ValueId> = [dy, x, mean, var].into_iter().chain(mask).collect();
        let [dgamma, dbeta] = tape.record(reduce, &inputs)?[..] else { unreachable!("two outputs") };
        let mut gradients = vec![None, None, None, Some(dgamma), Some(dbeta)];
        let residual = self.residual && wants[5];
        if wants[0] || residual {
            let apply = BatchNormGradApply { eps: self.eps, residual, relu: self.relu };
            let inputs: Vec<ValueId> = [dy, x, mean, var, gamma, dgamma, dbeta].into_iter().chain(mask).collect();
            let outputs = tape.record(Instruction::BatchNormGradApply(apply), &inputs)?;
            gradients[0] = Some(outputs[0]);
            gradients.extend(self.residual.then(|| outputs.get(1).copied()));
        } else {
            gradients.extend(self.residual.then_some(None));
        }
        Ok(gradients)
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        2 * inputs[0].len() as u64
    }
}

impl Op for BatchNormGradReduce {
    fn name(&self) -> &'static str {
        "batch_norm_grad_reduce"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let n = 4 + usize::from(self.relu);
        let fits = inputs.len() == n && inputs[0] == inputs[1] && fit_channels(inputs[0], &inputs[2..4]);
        if !fits || (self.relu && inputs[4] != inputs[0]) {
            return Err(shape_error(self.name(), inputs, "dy and x of one shape, mean, var over its channels, and y like x"));
        }
        Ok(vec![(Shape::channels(inputs[0].c()), DType::F32); 2])
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(0 | 1 | 4))
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

impl Op for BatchNormGradApply {
    fn name(&self) -> &'static str {
        "batch_norm_grad_apply"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let n = 7 + usize::from(self.relu);
        let fits = inputs.len() == n && inputs[0] == inputs[1] && fit_channels(inputs[0], &inputs[2..7]);
        if !fits || (self.relu && inputs[7] != inputs[0]) {
            return Err(shape_error(self.name(), inputs, "dy and x of one shape, five channel vectors, and y like x"));
        }
        Ok(vec![(inputs[0], DType::F32); 1 + usize::from(self.residual)])
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(0 | 1 | 7) | Operand::Output(_))
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        5 * inputs[0].len() as u64
    }
}
