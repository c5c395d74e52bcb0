//! At inference a convolution's result is normalised where it is computed, instead of in a pass of its own.
//!
//! ```text
//! z = conv2d(w, x), y = apply{relu}(z, mean, var, gamma, beta)   ->   y = conv2d_normalised{relu}(w, x, mean, var, gamma, beta)
//! ```
//!
//! Only where mean and variance are kept ones: a training's are those of the batch, known after the convolution. The convolution moves down
//! to the normalisation, so nobody may update its weights in between. A normalisation that adds a residual image stays as it is.

use super::{Uses, remove_nodes};
use crate::ops::Instruction;
use crate::ops::conv2d_normalised::Conv2dNormalised;
use crate::tape::{Node, Tape, ValueId};

pub(super) fn fuse_normalisation(tape: &mut Tape) {
    let mut fused = Vec::new();
    let uses = Uses::new(tape);
    for apply in 0..tape.nodes().len() {
        if let Some((conv, node)) = find(tape, &uses, apply) {
            tape.nodes_mut()[apply] = node;
            fused.push(conv);
        }
    }
    remove_nodes(tape, &fused);
}

/// The convolution that the normalisation at `apply` can take in, and both as one node.
fn find(tape: &Tape, uses: &Uses, apply: usize) -> Option<(usize, Node)> {
    let node = &tape.nodes()[apply];
    let Instruction::BatchNormApply(normalise) = &node.instruction else { return None };
    let (conv, convolution) = uses.writer(tape, node.inputs[0])?;
    let Instruction::Conv2d(op) = &convolution.instruction else { return None };
    let is_kept = |v: &ValueId| tape.is_persistent(*v);
    let stays = |v: &ValueId| !is_kept(v) || uses.writer(tape, *v).is_none();
    let given = node.inputs[1..3].iter().all(is_kept) && convolution.inputs.iter().all(stays);
    if normalise.residual || op.bias || !given || !uses.has_one_reader(node.inputs[0]) {
        return None;
    }
    let fused = Conv2dNormalised { two_inputs: op.two_inputs, eps: normalise.eps, relu: normalise.relu };
    let inputs = convolution.inputs.iter().chain(&node.inputs[1..]).copied().collect();
    Some((conv, Node { instruction: Instruction::Conv2dNormalised(fused), inputs, outputs: node.outputs.clone() }))
}
