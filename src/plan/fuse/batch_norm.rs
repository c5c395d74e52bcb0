//! ReLU, and the residual sum before it, become the tail of the batch normalisation that feeds them; in the backward pass ReLU's
//! gradient becomes the head of the normalisation's gradient.
//!
//! ```text
//! z = apply(x),  y = relu(z)                        ->  y = apply{relu}(x)
//! z = apply(x),  s = z + r,  y = relu(s)            ->  y = apply{relu, residual}(x, r)
//! ds = relu_grad(dy, y), grad_reduce(ds, x, ..)     ->  grad_reduce{gate}(dy, x, ..)
//!                        grad_apply(ds, x, ..)      ->  grad_apply{gate, residual}(dy, x, ..), which also writes ds for the
//!                        others who read ds             others (the shortcut)
//! ```
//!
//! The gate reads y where there is a residual, else gamma and beta: [`Gate`].

use super::{Uses, remove_nodes};
use crate::ops::Instruction;
use crate::ops::batch_norm::{BatchNormApply, BatchNormGradApply, BatchNormGradReduce, Gate};
use crate::tape::{DType, Node, Tape, ValueId};

pub(super) fn fuse_tails(tape: &mut Tape) {
    let mut relu = 0;
    while relu < tape.nodes().len() {
        match find_tail(tape, relu) {
            Some(tail) => {
                fuse_gradient(tape, &tail);
                let n_removed_before = fuse_forward(tape, &tail);
                relu = tail.relu + 1 - n_removed_before;
            }
            None => relu += 1,
        }
    }
}

/// A batch normalisation with a ReLU behind it, and a sum between where there is one: indices of nodes.
struct Tail {
    apply: usize,
    add: Option<usize>,
    relu: usize,
    /// What the sum adds to the normalised value.
    residual: Option<ValueId>,
}

fn find_tail(tape: &Tape, relu: usize) -> Option<Tail> {
    let node = &tape.nodes()[relu];
    if !matches!(node.instruction, Instruction::Relu(_)) {
        return None;
    }
    let uses = Uses::new(tape);
    let sum = node.inputs[0];
    if let Some(apply) = plain_apply(tape, &uses, sum, relu) {
        return Some(Tail { apply, add: None, relu, residual: None });
    }
    let (add, node) = uses.writer(tape, sum).filter(|(_, n)| matches!(n.instruction, Instruction::Add(_)))?;
    if !uses.has_one_reader(sum) {
        return None;
    }
    // Of two normalised terms the later one's gradient comes first in the backward pass, where it can hand on the other's.
    let candidates = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])];
    let found = candidates.into_iter().filter_map(|(term, other)| Some((plain_apply(tape, &uses, term, relu)?, other)));
    found.max_by_key(|(apply, _)| *apply).map(|(apply, other)| Tail { apply, add: Some(add), relu, residual: Some(other) })
}

/// The batch normalisation without tail that writes `v` for one reader only, and that may move down to node `to`.
fn plain_apply(tape: &Tape, uses: &Uses, v: ValueId, to: usize) -> Option<usize> {
    let (index, node) = uses.writer(tape, v)?;
    let plain = matches!(&node.instruction, Instruction::BatchNormApply(a) if !a.residual && !a.relu);
    let is_persistent = |v: &ValueId| tape.is_persistent(*v);
    let overwritten = |n: &Node| n.outputs.iter().any(|o| is_persistent(o) && node.inputs.contains(o));
    let may_move = !tape.nodes()[index..to].iter().any(overwritten);
    (plain && may_move && uses.has_one_reader(v)).then_some(index)
}

/// Puts the fused node in ReLU's place and removes what it replaces; returns how many nodes before it went.
fn fuse_forward(tape: &mut Tape, tail: &Tail) -> usize {
    let apply = tape.nodes()[tail.apply].clone();
    let Instruction::BatchNormApply(BatchNormApply { eps, .. }) = apply.instruction else { unreachable!("found as such") };
    let instruction = Instruction::BatchNormApply(BatchNormApply { eps, residual: tail.residual.is_some(), relu: true });
    let inputs = apply.inputs.into_iter().chain(tail.residual).collect();
    let outputs = tape.nodes()[tail.relu].outputs.clone();
    tape.nodes_mut()[tail.relu] = Node { instruction, inputs, outputs };
    let replaced: Vec<usize> = tail.add.into_iter().chain([tail.apply]).collect();
    remove_nodes(tape, &replaced);
    replaced.len()
}

/// Fuses the gradient where there is one and nobody else needs what it drops. Without it the fused forward pass is still right: ReLU's
/// gradient reads y, which stays.
fn fuse_gradient(tape: &mut Tape, tail: &Tail) {
    let Some(gradient) = find_gradient(tape, tail) else { return };
    let y = tape.nodes()[tail.relu].outputs[0];
    let dy = tape.nodes()[gradient.relu_grad].inputs[0];
    let others_need_ds = !gradient.others.is_empty();
    let shape = tape.shape(y);
    let dresidual = others_need_ds.then(|| tape.transient(shape, DType::F32));
    let nodes = tape.nodes_mut();
    let of_gate = Gate::of(tail.residual.is_some(), true);
    let [gamma, beta] = [3, 4].map(|i| nodes[tail.apply].inputs[i]);
    let of_reduce_and_apply = if of_gate == Gate::Output { [vec![y], vec![y]] } else { [vec![gamma, beta], vec![beta]] };
    for (index, behind) in [gradient.reduce, gradient.apply].into_iter().zip(of_reduce_and_apply) {
        nodes[index].inputs[0] = dy;
        nodes[index].inputs.extend(behind);
    }
    let Instruction::BatchNormGradReduce(BatchNormGradReduce { gate, .. }) = &mut nodes[gradient.reduce].instruction else {
        unreachable!("found as such")
    };
    *gate = of_gate;
    let Instruction::BatchNormGradApply(BatchNormGradApply { residual, gate, .. }) = &mut nodes[gradient.apply].instruction
    else {
        unreachable!("found as such")
    };
    (*residual, *gate) = (others_need_ds, of_gate);
    nodes[gradient.apply].outputs.extend(dresidual);
    for &other in &gradient.others {
        nodes[other].inputs.iter_mut().filter(|v| **v == gradient.ds).for_each(|v| *v = dresidual.expect("others need it"));
    }
    // The node of ReLU's gradient is left without readers and goes as dead code.
}

/// The gradient of a tail: indices of nodes, and the upstream gradient ds behind ReLU.
struct TailGradient {
    relu_grad: usize,
    ds: ValueId,
    reduce: usize,
    apply: usize,
    /// Other readers of ds, all behind `apply`.
    others: Vec<usize>,
}

fn find_gradient(tape: &Tape, tail: &Tail) -> Option<TailGradient> {
    let uses = Uses::new(tape);
    let y = tape.nodes()[tail.relu].outputs[0];
    let is_relu_grad = |n: &Node| matches!(n.instruction, Instruction::ReluGrad(_)) && n.inputs[1] == y;
    let relu_grads: Vec<usize> = uses.readers(y).iter().copied().filter(|&r| is_relu_grad(&tape.nodes()[r])).collect();
    let &[relu_grad] = &relu_grads[..] else { return None };
    let ds = tape.nodes()[relu_grad].outputs[0];
    let normalised = &tape.nodes()[tail.apply].inputs[..3];
    let is_of_apply = |n: &Node| n.inputs[0] == ds && n.inputs[1..4] == *normalised;
    let find = |wanted: fn(&Instruction) -> bool| {
        uses.readers(ds).iter().copied().find(|&r| wanted(&tape.nodes()[r].instruction) && is_of_apply(&tape.nodes()[r]))
    };
    let reduce = find(|i| matches!(i, Instruction::BatchNormGradReduce(g) if g.gate == Gate::Open))?;
    let apply = find(|i| matches!(i, Instruction::BatchNormGradApply(g) if g.gate == Gate::Open && !g.residual))?;
    // The gate takes gamma and beta of the forward pass.
    if tape.nodes()[apply].inputs[4] != tape.nodes()[tail.apply].inputs[3] {
        return None;
    }
    let others: Vec<usize> = uses.readers(ds).iter().copied().filter(|&r| r != reduce && r != apply).collect();
    let readable = others.iter().all(|&other| other > apply) && !uses.is_output[ds.index()];
    readable.then_some(TailGradient { relu_grad, ds, reduce, apply, others })
}
