//! Placement: lifetimes, and a place in one arena for every value.
//!
//! Values that are alive at the same time must not overlap. Finding the smallest arena is NP-hard (dynamic storage allocation), so
//! values are placed greedily, each in the smallest gap that holds it among those placed before it that it meets in time; this is done
//! in several orders and the smallest arena is kept. No placement can undercut the most bytes that are alive at one step.

use super::lifetime::{Lifetime, Lifetimes};
use super::{ALIGNMENT, PersistentLayout, Plan, Region, Request, Scratch, ScratchOf, Slot, Step, half_type};
use crate::error::{Error, Result};
use crate::tape::{DType, Node, Residence, Shape, Tape, ValueId};
use std::cmp::Reverse;

pub(super) fn lay_out_persistent(tapes: &[&Tape]) -> PersistentLayout {
    let mut layout = PersistentLayout::default();
    for value in tapes.iter().flat_map(|tape| tape.values()) {
        let Residence::Persistent(name) = &value.residence else { continue };
        let slot = Slot { region: Region::Persistent, offset: layout.bytes, shape: value.shape, dtype: value.dtype };
        match layout.slots.get(name) {
            Some(known) => assert_eq!(known.shape, value.shape, "persistent value {name} has two shapes in the plans of one run"),
            None => {
                layout.bytes += aligned(slot.bytes());
                layout.slots.insert(name.clone(), slot);
            }
        }
    }
    layout
}

pub(super) fn place(tape: &Tape, layout: &PersistentLayout, scratch: ScratchOf<'_>) -> Result<Plan> {
    let scratch = scratch_of_nodes(tape, scratch);
    let lifetimes = Lifetimes::new(tape);
    let blocks = blocks(tape, &lifetimes, &scratch);
    let (offsets, transient_bytes) = pack(&blocks);
    let mut slots: Vec<Option<Slot>> = persistent_slots(tape, layout)?;
    let mut workspaces: Vec<Option<Slot>> = vec![None; tape.nodes().len()];
    let mut prepared_from = 0;
    for (block, offset) in blocks.iter().zip(offsets) {
        let slot = |shape, dtype| Some(Slot { region: Region::Transient, offset, shape, dtype });
        match block.owner {
            Owner::Value(v) => slots[v.index()] = slot(tape.shape(v), tape.values()[v.index()].dtype),
            Owner::Workspace(step) => workspaces[step] = slot(Shape::channels(scratch[step].workspace), DType::U8),
            Owner::Prepared => prepared_from = offset,
        }
    }
    let slot_of = |v: &ValueId| slots[v.index()].expect("every value that a node or an output names has a lifetime");
    let steps = tape.nodes().iter().zip(&scratch).zip(workspaces).map(|((node, scratch), workspace)| {
        let (shape, dtype) = (Shape::channels(scratch.prepared), DType::U8);
        let prepared = Slot { region: Region::Transient, offset: prepared_from, shape, dtype };
        prepared_from += aligned(scratch.prepared);
        Step {
            instruction: node.instruction.clone(),
            inputs: node.inputs.iter().map(slot_of).collect(),
            outputs: node.outputs.iter().map(slot_of).collect(),
            workspace,
            prepared: (scratch.prepared > 0).then_some(prepared),
        }
    });
    let inputs = tape.values().iter().enumerate().filter_map(|(i, value)| match &value.residence {
        Residence::Input(name) => Some((name.clone(), slots[i].expect("inputs live through the whole run"))),
        _ => None,
    });
    Ok(Plan {
        id: super::new_id(),
        steps: steps.collect(),
        transient_bytes,
        inputs: inputs.collect(),
        outputs: tape.outputs().iter().map(|(name, v)| (name.clone(), slot_of(v))).collect(),
    })
}

/// What each node needs besides its values.
fn scratch_of_nodes(tape: &Tape, scratch: ScratchOf<'_>) -> Vec<Scratch> {
    let is_constant = !tape.has_updates();
    let of_node = |node: &Node| {
        let shapes = |ids: &[ValueId]| ids.iter().map(|&v| tape.shape(v)).collect::<Vec<_>>();
        let (inputs, outputs) = (shapes(&node.inputs), shapes(&node.outputs));
        let half = half_type(node.inputs.iter().chain(&node.outputs).map(|&v| tape.dtype(v)));
        let op = node.instruction.op();
        let mut parameters = node.inputs.iter().enumerate().filter(|(i, _)| op.is_parameter(*i)).map(|(_, v)| v).peekable();
        let lasts = is_constant && parameters.peek().is_some() && parameters.all(|&v| tape.is_persistent(v));
        let scratch = scratch(&Request { instruction: &node.instruction, inputs: &inputs, outputs: &outputs, half, lasts });
        assert!(lasts || scratch.prepared == 0, "{} keeps what does not last", node.instruction.name());
        scratch
    };
    tape.nodes().iter().map(of_node).collect()
}

fn persistent_slots(tape: &Tape, layout: &PersistentLayout) -> Result<Vec<Option<Slot>>> {
    let place = |value: &crate::tape::Value| match &value.residence {
        Residence::Persistent(name) => match layout.get(name) {
            Some(slot) if slot.shape == value.shape => Ok(Some(slot)),
            Some(slot) => Err(Error::run(format!("{name} has shape {:?} in this run, not {:?}", slot.shape, value.shape))),
            None => Err(Error::run(format!("the plan needs the persistent value {name}, which this run does not keep"))),
        },
        _ => Ok(None),
    };
    tape.values().iter().map(place).collect()
}

/// Whose bytes a block holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Value(ValueId),
    /// The scratch memory of this step.
    Workspace(usize),
    /// What all steps make of their parameters, step after step.
    Prepared,
}

/// Bytes that must lie somewhere while they live.
#[derive(Clone, Copy, Debug)]
struct Block {
    owner: Owner,
    life: Lifetime,
    bytes: usize,
}

fn blocks(tape: &Tape, lifetimes: &Lifetimes, scratch: &[Scratch]) -> Vec<Block> {
    let values = lifetimes.iter().map(|(v, life)| {
        let value = &tape.values()[v.index()];
        Block { owner: Owner::Value(v), life, bytes: aligned(value.shape.len() * value.dtype.size()) }
    });
    let workspaces = scratch.iter().enumerate().filter(|(_, scratch)| scratch.workspace > 0).map(|(step, scratch)| Block {
        owner: Owner::Workspace(step),
        life: Lifetime { from: step, to: step },
        bytes: aligned(scratch.workspace),
    });
    // One block, which no value of any step lies on, nor in between.
    let bytes = scratch.iter().map(|scratch| aligned(scratch.prepared)).sum();
    let life = Lifetime { from: 0, to: scratch.len().saturating_sub(1) };
    let prepared = (bytes > 0).then_some(Block { owner: Owner::Prepared, life, bytes });
    values.chain(workspaces).chain(prepared).collect()
}

fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// What blocks are sorted by: the first to be placed comes first.
type SortKey = fn(&Block) -> [Reverse<usize>; 2];

/// An offset for each block, and the size of the arena. Ties keep the order of the tape, so that the same tape always gives the same
/// places.
fn pack(blocks: &[Block]) -> (Vec<usize>, usize) {
    let orders: [SortKey; 3] = [
        |b| [Reverse(b.bytes), Reverse(b.life.len())],
        |b| [Reverse(b.life.len()), Reverse(b.bytes)],
        |b| [Reverse(b.bytes.saturating_mul(b.life.len())), Reverse(b.bytes)],
    ];
    let packings = orders.iter().map(|key| {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|&i| key(&blocks[i]));
        pack_in_order(blocks, &order)
    });
    packings.min_by_key(|(_, bytes)| *bytes).expect("there is more than one order")
}

fn pack_in_order(blocks: &[Block], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; blocks.len()];
    let mut arena_bytes = 0;
    for (n_placed, &i) in order.iter().enumerate() {
        let meets = order[..n_placed].iter().filter(|&&j| blocks[j].life.meets(blocks[i].life));
        let mut taken: Vec<(usize, usize)> = meets.map(|&j| (offsets[j], offsets[j] + blocks[j].bytes)).collect();
        taken.sort_unstable();
        offsets[i] = smallest_gap(&taken, blocks[i].bytes);
        arena_bytes = arena_bytes.max(offsets[i] + blocks[i].bytes);
    }
    (offsets, arena_bytes)
}

/// The start of the smallest gap between the `taken` ranges (sorted by start) that holds `bytes`, or the end of all.
fn smallest_gap(taken: &[(usize, usize)], bytes: usize) -> usize {
    let mut best: Option<(usize, usize)> = None;
    let mut end = 0;
    for &(from, to) in taken {
        let gap = from.saturating_sub(end);
        if gap >= bytes && best.is_none_or(|(smallest, _)| gap < smallest) {
            best = Some((gap, end));
        }
        end = end.max(to);
    }
    best.map_or(end, |(_, start)| start)
}

#[cfg(test)]
mod tests;
