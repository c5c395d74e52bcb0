//! Nodes that nobody needs are removed: no output of theirs is read, kept for the host or persistent.

use super::remove_nodes;
use crate::tape::{Residence, Tape};

pub(super) fn remove_dead_code(tape: &mut Tape) {
    let mut is_needed: Vec<bool> = tape.values().iter().map(|v| matches!(v.residence, Residence::Persistent(_))).collect();
    tape.outputs().iter().for_each(|(_, v)| is_needed[v.index()] = true);
    let mut dead = Vec::new();
    for (index, node) in tape.nodes().iter().enumerate().rev() {
        if node.outputs.iter().any(|v| is_needed[v.index()]) {
            node.inputs.iter().for_each(|v| is_needed[v.index()] = true);
        } else {
            dead.push(index);
        }
    }
    remove_nodes(tape, &dead);
}
