//! The gradients of a convolution and of its normalisation by the batch's statistics as one node, for devices that take them in one pass.
//!
//! ```text
//! dz = batch_norm_grad_apply(dy, z, ..), dw = conv2d_weight_grad(dz, x), dx = conv2d_data_grad(w, dz)
//!     ->   dw, dx = conv2d_normalised_grad(dy, z, .., w, x)
//! ```
//!
//! The node stands where the first of the three stood. What the others read besides dz is of the forward pass, or a weight, which is updated
//! behind its last reader.

use super::{Uses, remove_nodes};
use crate::ops::Instruction;
use crate::ops::conv2d_normalised_grad::Conv2dNormalisedGrad;
use crate::tape::{DType, Node, Shape, Tape};

/// Whether a device has the operation for such inputs.
pub type Merges<'a> = &'a dyn Fn(&Conv2dNormalisedGrad, &[(Shape, DType)]) -> bool;

pub(super) fn merge_gradients(tape: &mut Tape, has: Merges<'_>) {
    let mut merged = Vec::new();
    let uses = Uses::new(tape);
    for apply in 0..tape.nodes().len() {
        if let Some((others, node)) = find(tape, &uses, apply, has) {
            tape.nodes_mut()[apply] = node;
            merged.extend(others);
        }
    }
    remove_nodes(tape, &merged);
}

/// The gradients that read what the node at `apply` writes, and all three as one node.
fn find(tape: &Tape, uses: &Uses, apply: usize, has: Merges<'_>) -> Option<([usize; 2], Node)> {
    let node = &tape.nodes()[apply];
    let Instruction::BatchNormGradApply(normalisation) = &node.instruction else { return None };
    let &[dz] = &node.outputs[..] else { return None };
    let &[a, b] = uses.readers(dz) else { return None };
    if uses.is_output[dz.index()] {
        return None;
    }
    let is_weight_grad = |i: usize| matches!(tape.nodes()[i].instruction, Instruction::Conv2dWeightGrad(_));
    let (weight, data) = if is_weight_grad(a) { (a, b) } else { (b, a) };
    let [of_weights, of_data] = [weight, data].map(|i| &tape.nodes()[i]);
    let Instruction::Conv2dDataGrad(data_grad) = &of_data.instruction else { return None };
    let (w, images) = (of_data.inputs[0], &of_weights.inputs[1..]);
    let is_early = |v| uses.writer(tape, v).is_none_or(|(writer, _)| writer < apply);
    if !is_weight_grad(weight) || of_weights.inputs[0] != dz || of_data.inputs[1] != dz || !images.iter().all(|v| is_early(*v)) {
        return None;
    }
    let op = Conv2dNormalisedGrad { normalisation: normalisation.clone(), channels: data_grad.channels };
    let inputs: Vec<_> = node.inputs.iter().chain([&w]).chain(images).copied().collect();
    if !has(&op, &tape.kinds(&inputs)) {
        return None;
    }
    let outputs = of_weights.outputs.iter().chain(&of_data.outputs).copied().collect();
    Some(([weight, data], Node { instruction: Instruction::Conv2dNormalisedGrad(op), inputs, outputs }))
}
