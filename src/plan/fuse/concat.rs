//! Concatenations are folded into the convolutions that read them, and splits into the data gradients that they part, so that neither
//! costs a copy.

use super::{Uses, remove_nodes};
use crate::ops::Instruction;
use crate::ops::add::Add;
use crate::ops::conv2d::Conv2dDataGrad;
use crate::tape::{DType, Node, Residence, Tape, ValueId};

/// Lets convolutions and their weight gradients read the two parts of a concatenation that nobody else reads.
pub(super) fn fold_concats(tape: &mut Tape) {
    let uses = Uses::new(tape);
    let mut folded = Vec::new();
    for index in 0..tape.nodes().len() {
        let node = tape.nodes()[index].clone();
        if !matches!(node.instruction, Instruction::Concat(_)) {
            continue;
        }
        let y = node.outputs[0];
        let foldable = uses.readers(y).iter().all(|&reader| reads_as_only_image(&tape.nodes()[reader], y));
        // A persistent part could change between the concatenation and a later reader.
        let parts_stay = node.inputs.iter().all(|v| !matches!(tape.values()[v.index()].residence, Residence::Persistent(_)));
        if !foldable || !parts_stay || uses.is_output[y.index()] {
            continue;
        }
        for &reader in uses.readers(y) {
            let reader = &mut tape.nodes_mut()[reader];
            if let Instruction::Conv2d(conv) = &mut reader.instruction {
                conv.two_inputs = true;
            }
            reader.inputs.splice(1..2, node.inputs.iter().copied());
        }
        folded.push(index);
    }
    remove_nodes(tape, &folded);
}

fn reads_as_only_image(node: &Node, y: ValueId) -> bool {
    let takes_one_image = match &node.instruction {
        Instruction::Conv2d(conv) => !conv.two_inputs,
        Instruction::Conv2dWeightGrad(_) => node.inputs.len() == 2,
        _ => false,
    };
    takes_one_image && node.inputs[1] == y && node.inputs.iter().filter(|&&v| v == y).count() == 1
}

/// Lets the data gradients write the two parts of what would be split. Where two data gradients are added first (a block and its
/// projection both read the concatenation), their parts are added instead.
pub(super) fn fold_splits(tape: &mut Tape) {
    let mut index = 0;
    while index < tape.nodes().len() {
        let is_split = matches!(tape.nodes()[index].instruction, Instruction::Split(_));
        if !is_split || !fold_split(tape, index) {
            index += 1;
        }
    }
}

/// Folds the split at `index` and removes it, or says that this cannot be done.
fn fold_split(tape: &mut Tape, index: usize) -> bool {
    let uses = Uses::new(tape);
    let split = &tape.nodes()[index];
    let (whole, parts) = (split.inputs[0], [split.outputs[0], split.outputs[1]]);
    let Some((writer, node)) = uses.writer(tape, whole).filter(|_| uses.has_one_reader(whole)) else { return false };
    if is_whole_data_grad(node) {
        part_data_grad(tape, writer, parts);
        remove_nodes(tape, &[index]);
        return true;
    }
    if !matches!(node.instruction, Instruction::Add(_)) {
        return false;
    }
    let one_reader = node.inputs.iter().filter(|&&term| uses.has_one_reader(term));
    let grads = one_reader.filter_map(|&term| uses.writer(tape, term).filter(|(_, n)| is_whole_data_grad(n)));
    let &[first, second] = &grads.map(|(index, _)| index).collect::<Vec<_>>()[..] else { return false };
    let [a, b] = [first, second].map(|grad| {
        let term = parts.map(|part| tape.transient(tape.shape(part), DType::F32));
        part_data_grad(tape, grad, term);
        term
    });
    remove_nodes(tape, &[index]);
    let add = |i: usize| Node { instruction: Instruction::Add(Add {}), inputs: vec![a[i], b[i]], outputs: vec![parts[i]] };
    tape.nodes_mut().splice(writer..=writer, [add(0), add(1)]);
    true
}

fn is_whole_data_grad(node: &Node) -> bool {
    matches!(&node.instruction, Instruction::Conv2dDataGrad(grad) if grad.channels[1] == 0)
}

fn part_data_grad(tape: &mut Tape, index: usize, parts: [ValueId; 2]) {
    let channels = parts.map(|part| tape.shape(part).c());
    let node = &mut tape.nodes_mut()[index];
    node.instruction = Instruction::Conv2dDataGrad(Conv2dDataGrad { channels });
    node.outputs = parts.to_vec();
}
