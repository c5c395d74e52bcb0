//! Updates of persistent values move up to where their inputs are ready, so that gradients die early: all gradients of a network at
//! once would be as large as its parameters.

use crate::tape::{Node, Residence, Tape, ValueId};

/// Moves every node that only updates persistent values (Adam, running statistics) up to the earliest place that keeps its meaning:
/// behind what writes its inputs, and behind every reader and writer of what it updates (the data gradient reads the weights that
/// Adam changes).
pub(super) fn hoist_updates(tape: &mut Tape) {
    let is_persistent: Vec<bool> = tape.values().iter().map(|v| matches!(v.residence, Residence::Persistent(_))).collect();
    let mut scheduled: Vec<Node> = Vec::with_capacity(tape.nodes().len());
    for node in std::mem::take(tape.nodes_mut()) {
        let updates_only = node.outputs.iter().all(|v| is_persistent[v.index()]);
        let place = if updates_only { earliest_place(&scheduled, &node) } else { scheduled.len() };
        scheduled.insert(place, node);
    }
    *tape.nodes_mut() = scheduled;
}

fn earliest_place(earlier: &[Node], node: &Node) -> usize {
    let touches = |list: &[ValueId], values: &[ValueId]| list.iter().any(|v| values.contains(v));
    let must_precede =
        |n: &Node| touches(&n.outputs, &node.inputs) || touches(&n.outputs, &node.outputs) || touches(&n.inputs, &node.outputs);
    earlier.iter().rposition(must_precede).map_or(0, |index| index + 1)
}
