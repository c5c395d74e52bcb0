//! Batch normalisation (Ioffe and Szegedy 2015, algorithms 1 and 2), with ReLU and a residual sum as optional tail.
//!
//! ```text
//! mean[c] = 1/M sum of x[.., c],   var[c] = 1/M sum of (x[.., c] - mean[c])^2,   M = N H W      (statistics)
//! xhat = (x - mean) / sqrt(var + eps)
//! z    = gamma xhat + beta (+ residual),   y = z or max(z, 0)                                  (apply)
//! running_mean <- (1 - momentum) running_mean + momentum mean
//! running_var  <- (1 - momentum) running_var  + momentum var M / (M - 1)                        (update, as PyTorch)
//!
//! dz = dy where y > 0 (with ReLU; without residual that is where gamma xhat + beta > 0), else dy        dresidual = dz
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

/// Where dy counts, by what stands behind the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everywhere: no ReLU.
    Open,
    /// Where y is positive: ReLU of a sum with a residual, which x does not tell.
    Output,
    /// Where gamma xhat + beta is positive: ReLU without residual. x is read anyway, so that this is an image less to read than y.
    Normalised,
}

impl Gate {
    /// Of a normalisation with this tail.
    pub fn of(residual: bool, relu: bool) -> Gate {
        match (relu, residual) {
            (false, _) => Gate::Open,
            (true, true) => Gate::Output,
            (true, false) => Gate::Normalised,
        }
    }
}

/// Inputs: dy [N, H, W, C], x [N, H, W, C], mean `[C]`, var `[C]`, then by the gate nothing, y [N, H, W, C], or gamma and beta `[C]`.
/// Outputs: dgamma `[C]`, dbeta `[C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGradReduce {
    pub eps: f32,
    pub gate: Gate,
}

/// Inputs: dy, x [N, H, W, C], mean, var, gamma, dgamma, dbeta `[C]`, then by the gate nothing, y [N, H, W, C], or beta `[C]`. Outputs:
/// dx [N, H, W, C] and, if `residual`, dresidual [N, H, W, C].
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGradApply {
    pub eps: f32,
    pub residual: bool,
    pub gate: Gate,
}

/// Whether all of `vectors` are channel vectors of `x`.
fn fit_channels(x: Shape, vectors: &[Shape]) -> bool {
    vectors.iter().all(|v| *v == Shape::channels(x.c()))
}

/// Whether `behind` is what the gate reads behind the other inputs: `vectors` of them over channels if it is [`Gate::Normalised`].
fn fits_gate(gate: Gate, x: Shape, behind: &[Shape], vectors: usize) -> bool {
    match gate {
        Gate::Open => behind.is_empty(),
        Gate::Output => *behind == [x],
        Gate::Normalised => behind.len() == vectors && fit_channels(x, behind),
    }
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
        let [x, mean, var, gamma, beta] = node.inputs[..5] else { unreachable!("checked when recorded") };
        if !are_statistics_of(tape, x, [mean, var]) {
            return Err(Error::usage("batch_norm_apply: with fixed statistics it is for inference and has no adjoint"));
        }
        let (eps, gate) = (self.eps, Gate::of(self.residual, self.relu));
        let (of_reduce, of_apply) = match gate {
            Gate::Open => (vec![], vec![]),
            Gate::Output => (vec![node.outputs[0]], vec![node.outputs[0]]),
            Gate::Normalised => (vec![gamma, beta], vec![beta]),
        };
        let reduce = Instruction::BatchNormGradReduce(BatchNormGradReduce { eps, gate });
        let inputs: Vec<ValueId> = [dy, x, mean, var].into_iter().chain(of_reduce).collect();
        let [dgamma, dbeta] = tape.record(reduce, &inputs)?[..] else { unreachable!("two outputs") };
        let mut gradients = vec![None, None, None, Some(dgamma), Some(dbeta)];
        let residual = self.residual && wants[5];
        if wants[0] || residual {
            let apply = BatchNormGradApply { eps, residual, gate };
            let inputs: Vec<ValueId> = [dy, x, mean, var, gamma, dgamma, dbeta].into_iter().chain(of_apply).collect();
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
        let fits = |x: Shape, behind: &[Shape]| fits_gate(self.gate, x, behind, 2);
        match inputs {
            [dy, x, mean, var, behind @ ..] if dy == x && fit_channels(*x, &[*mean, *var]) && fits(*x, behind) => {
                Ok(vec![(Shape::channels(x.c()), DType::F32); 2])
            }
            _ => Err(shape_error(
                self.name(),
                inputs,
                "dy and x of one shape, mean and var over its channels, and what the gate reads",
            )),
        }
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(0 | 1)) || (self.gate == Gate::Output && operand == Operand::Input(4))
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
        let fits = inputs.len() >= 7 && inputs[0] == inputs[1] && fit_channels(inputs[0], &inputs[2..7]);
        if !fits || !fits_gate(self.gate, inputs[0], &inputs[7..], 1) {
            return Err(shape_error(self.name(), inputs, "dy and x of one shape, five channel vectors, and what the gate reads"));
        }
        Ok(vec![(inputs[0], DType::F32); 1 + usize::from(self.residual)])
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(0 | 1) | Operand::Output(_))
            || (self.gate == Gate::Output && operand == Operand::Input(7))
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        5 * inputs[0].len() as u64
    }
}
