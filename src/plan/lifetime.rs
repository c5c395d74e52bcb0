//! Lifetimes: from which step to which step a value is needed.

use crate::tape::{Residence, Tape, ValueId};

/// The first and the last step of a value's life, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub from: usize,
    pub to: usize,
}

impl Lifetime {
    /// Whether there is a step at which both are alive. A step's inputs, outputs and workspace so always meet,
    /// and what is prepared, which lives through the whole run.
    pub fn meets(self, other: Lifetime) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    /// The number of steps.
    pub fn len(self) -> usize {
        self.to - self.from + 1
    }
}

/// The lifetimes of all values that lie in the transient region.
pub(super) struct Lifetimes(Vec<Option<Lifetime>>);

impl Lifetimes {
    /// Inputs live through the whole run, so that a run can be repeated on them; outputs live to its end; a value that nobody reads
    /// lives for the step that writes it. Persistent values have no lifetime, and neither have values that no node names.
    pub fn new(tape: &Tape) -> Self {
        let last = tape.nodes().len().saturating_sub(1);
        let mut lives: Vec<Option<Lifetime>> = vec![None; tape.values().len()];
        for (step, node) in tape.nodes().iter().enumerate() {
            for v in node.inputs.iter().chain(&node.outputs) {
                lives[v.index()].get_or_insert(Lifetime { from: step, to: step }).to = step;
            }
        }
        for (_, v) in tape.outputs() {
            lives[v.index()].get_or_insert(Lifetime { from: 0, to: last }).to = last;
        }
        for (life, value) in lives.iter_mut().zip(tape.values()) {
            match value.residence {
                Residence::Input(_) => *life = Some(Lifetime { from: 0, to: last }),
                Residence::Persistent(_) => *life = None,
                Residence::Transient => {}
            }
        }
        Lifetimes(lives)
    }

    /// All values that have a lifetime, in order of creation.
    pub fn iter(&self) -> impl Iterator<Item = (ValueId, Lifetime)> {
        self.0.iter().enumerate().filter_map(|(i, life)| life.map(|life| (ValueId(i as u32), life)))
    }
}
