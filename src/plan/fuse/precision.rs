//! Mixed precision (Micikevicius et al. 2018): images are stored as f16 or bf16, and the weights of convolutions as f16; parameters, moments,
//! statistics, vectors over channels and the gradients of parameters stay f32.
//!
//! What multiplies matrices is always done on these, which is where matrix units gain; what only moves, masks, adds or normalises images
//! follows the images that it reads. Where a value is needed in the other type, a cast stands before its first reader there and serves
//! all later ones: a weight is cast once, for the forward pass and for the gradient of the data. Weights beside bf16 are not cast: see
//! [`crate::ops::Op::may_be_half`].
//!
//! ```text
//! y = conv2d(w, x)              ->  wh = cast(w), xh = cast(x), yh = conv2d(wh, xh)
//! loss = dice_bce(y, ..)        ->  y = cast(yh), loss = dice_bce(y, ..)
//! dx = conv2d_data_grad(w, dy)  ->  dyh = cast(dy), dxh = conv2d_data_grad(wh, dyh)
//! dw = conv2d_weight_grad(dy, x) -> dw = conv2d_weight_grad(dyh, xh), in f32
//! ```

use crate::ops::cast::Cast;
use crate::ops::{Instruction, Operand};
use crate::tape::{DType, Node, Residence, Tape, ValueId};
use std::collections::HashMap;

/// Stores transient values as `half`, a type of 16 bits, where their readers and writers take it, and casts at the borders. What the
/// host reads stays f32.
pub(super) fn store_half(tape: &mut Tape, half: DType) {
    let nodes = std::mem::take(tape.nodes_mut());
    let mut rewrite = Rewrite { tape, half, list: Vec::with_capacity(nodes.len()), casts: HashMap::new() };
    nodes.into_iter().for_each(|node| rewrite.push(node));
    for index in 0..rewrite.tape.outputs().len() {
        let (_, value) = rewrite.tape.outputs()[index];
        if rewrite.tape.dtype(value) == half {
            let full = rewrite.in_type(value, DType::F32);
            rewrite.tape.set_output(index, full);
        }
    }
    *rewrite.tape.nodes_mut() = rewrite.list;
}

struct Rewrite<'a> {
    tape: &'a mut Tape,
    half: DType,
    /// What is rewritten so far.
    list: Vec<Node>,
    /// The copy of a value in the type that it does not have itself.
    casts: HashMap<ValueId, ValueId>,
}

impl Rewrite<'_> {
    fn push(&mut self, mut node: Node) {
        let op = node.instruction.op();
        let half = self.takes_half(&node);
        for (i, input) in node.inputs.iter_mut().enumerate() {
            let dtype = if half && op.may_be_half(Operand::Input(i), self.half) { self.half } else { op.input_type(i) };
            *input = self.in_type(*input, dtype);
        }
        for (i, &output) in node.outputs.iter().enumerate() {
            if half && op.may_be_half(Operand::Output(i), self.half) {
                self.tape.set_dtype(output, self.half);
            }
            // A copy of what is updated in place would be out of date.
            self.casts.remove(&output);
        }
        self.list.push(node);
    }

    /// Whether the node is one of the kind that works on 16 bits.
    fn takes_half(&self, node: &Node) -> bool {
        let op = node.instruction.op();
        let may_be = |(i, _): &(usize, &ValueId)| op.may_be_half(Operand::Input(*i), self.half);
        let reads_half = |(_, &v): (usize, &ValueId)| self.tape.dtype(v) == self.half;
        // Parameters and what else is kept from run to run are f32.
        let may_write = |(i, &v): (usize, &ValueId)| {
            !op.may_be_half(Operand::Output(i), self.half) || self.tape.values()[v.index()].residence == Residence::Transient
        };
        (node.instruction.multiplies_matrices() || node.inputs.iter().enumerate().filter(may_be).any(reads_half))
            && node.outputs.iter().enumerate().all(may_write)
    }

    /// `value` in this type: itself, or its copy.
    fn in_type(&mut self, value: ValueId, dtype: DType) -> ValueId {
        if self.tape.dtype(value) == dtype {
            return value;
        }
        if let Some(&copy) = self.casts.get(&value) {
            return copy;
        }
        let copy = self.tape.transient(self.tape.shape(value), dtype);
        let instruction = Instruction::Cast(Cast { to: dtype });
        self.list.push(Node { instruction, inputs: vec![value], outputs: vec![copy] });
        self.casts.insert(value, copy);
        copy
    }
}
