//! Rewrites of the list, one a file. A fusion leaves a tape that computes the same from the same inputs, so that fused = unfused is a
//! test; mixed precision leaves one that computes the same but for rounding.

mod batch_norm;
mod concat;
mod dead_code;
mod normalised;
mod overflow;
mod precision;
mod schedule;

use super::PlanOptions;
use crate::tape::{Node, Tape, ValueId};

/// All rewrites that are asked for, in the order in which they open the way for one another.
pub(super) fn rewrite(tape: &Tape, options: PlanOptions) -> Tape {
    let mut tape = tape.clone();
    if options.fuse {
        batch_norm::fuse_tails(&mut tape);
        concat::fold_concats(&mut tape);
        concat::fold_splits(&mut tape);
        dead_code::remove_dead_code(&mut tape);
    }
    if let Some(half) = options.precision.stored() {
        precision::store_half(&mut tape, half);
    }
    if options.precision.can_overflow() {
        overflow::guard_updates(&mut tape);
    }
    if options.fuse {
        schedule::hoist_updates(&mut tape);
    }
    tape
}

/// For devices that have [`crate::ops::conv2d_normalised`]; behind [`rewrite`].
pub(super) fn normalise_convolutions(tape: &mut Tape) {
    normalised::fuse_normalisation(tape);
}

/// Who writes and who reads each value, as indices of nodes. Made anew after every rewrite: lists are short, and stale indices would
/// be wrong silently.
struct Uses {
    writers: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
    is_output: Vec<bool>,
}

impl Uses {
    fn new(tape: &Tape) -> Self {
        let n = tape.values().len();
        let mut uses = Uses { writers: vec![None; n], readers: vec![Vec::new(); n], is_output: vec![false; n] };
        for (index, node) in tape.nodes().iter().enumerate() {
            node.inputs.iter().for_each(|v| uses.readers[v.index()].push(index));
            node.outputs.iter().for_each(|v| uses.writers[v.index()] = Some(index));
        }
        tape.outputs().iter().for_each(|(_, v)| uses.is_output[v.index()] = true);
        uses
    }

    /// The node that writes `v`, if one does.
    fn writer<'t>(&self, tape: &'t Tape, v: ValueId) -> Option<(usize, &'t Node)> {
        self.writers[v.index()].map(|index| (index, &tape.nodes()[index]))
    }

    fn readers(&self, v: ValueId) -> &[usize] {
        &self.readers[v.index()]
    }

    /// Whether nobody but one node reads `v`, and that node once.
    fn has_one_reader(&self, v: ValueId) -> bool {
        self.readers(v).len() == 1 && !self.is_output[v.index()]
    }
}

/// Removes the nodes at `indices`.
fn remove_nodes(tape: &mut Tape, indices: &[usize]) {
    let mut index = 0;
    tape.nodes_mut().retain(|_| {
        index += 1;
        !indices.contains(&(index - 1))
    });
}

#[cfg(test)]
mod mixed_tests;
#[cfg(test)]
mod tests;
