//! Dynamic loss scaling on the device: every gradient is checked, and the updates of parameters and of running statistics look at what
//! all of the checks have found. A step that overflowed so changes nothing, and the host need not be asked in its midst.
//!
//! ```text
//! dw = weight_grad(..), .., adam(dw, schedule)   ->   dw = weight_grad(..), check_finite(dw) -> overflow, ..,
//!                                                     adam(dw, schedule, overflow) behind the last check
//! ```

use super::Uses;
use crate::ops::Instruction;
use crate::ops::check_finite::CheckFinite;
use crate::plan::OVERFLOW;
use crate::tape::{Node, Shape, Tape, ValueId};

/// Guards the updates of a training step; a list without Adam has none. Each check follows what writes its gradient, while that is at
/// hand; the updates come last, in their order.
pub(super) fn guard_updates(tape: &mut Tape) {
    let is_adam = |n: &&Node| matches!(n.instruction, Instruction::Adam(_));
    let gradients: Vec<ValueId> = tape.nodes().iter().filter(is_adam).map(|n| n.inputs[0]).collect();
    if gradients.is_empty() {
        return;
    }
    assert_updates_can_wait(tape);
    let uses = Uses::new(tape);
    let overflow = tape.persistent(OVERFLOW, Shape::scalar());
    let check =
        |&g: &ValueId| Node { instruction: Instruction::CheckFinite(CheckFinite {}), inputs: vec![g], outputs: vec![overflow] };
    // A gradient that no node writes comes from the host.
    let given = gradients.iter().filter(|&&g| uses.writer(tape, g).is_none());
    let mut list: Vec<Node> = given.map(check).collect();
    let mut updates = Vec::new();
    for (index, mut node) in std::mem::take(tape.nodes_mut()).into_iter().enumerate() {
        if is_update(&node) {
            node.inputs.push(overflow);
            updates.push(node);
        } else {
            list.push(node);
            list.extend(gradients.iter().filter(|&&g| uses.writers[g.index()] == Some(index)).map(check));
        }
    }
    list.append(&mut updates);
    *tape.nodes_mut() = list;
}

/// What has to be left alone where a gradient overflowed.
fn is_update(node: &Node) -> bool {
    matches!(node.instruction, Instruction::Adam(_) | Instruction::BatchNormUpdate(_))
}

/// Moving the updates to the end keeps the meaning of the list only if nobody behind them reads or writes what they update.
fn assert_updates_can_wait(tape: &Tape) {
    for (index, update) in tape.nodes().iter().enumerate().filter(|(_, n)| is_update(n)) {
        let touches = |n: &Node| update.outputs.iter().any(|v| n.inputs.contains(v) || n.outputs.contains(v));
        let waits = !tape.nodes()[index + 1..].iter().any(touches);
        assert!(waits, "{} updates what is used behind it", update.instruction.name());
    }
}
