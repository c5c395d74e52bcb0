//! The plan: a tape made ready to run. Operations are fused, every value gets its place in one arena by its lifetime, and the bytes
//! that a run needs are known before it starts. Knows lifetimes and fusions, but no device.

mod arena;
mod fuse;
mod lifetime;
mod receipt;

pub use receipt::MemoryReceipt;

use crate::error::Result;
use crate::ops::Instruction;
use crate::tape::{DType, Shape, Tape};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every slot starts at a multiple of this many bytes: a cache line, and the widest vector load.
pub const ALIGNMENT: usize = 64;

/// The persistent value of a mixed training step that says whether a gradient overflowed: a plan adds it to what was recorded, the host
/// writes 0 into it before each run.
pub const OVERFLOW: &str = "overflow";

/// Which of the two memory regions a slot lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// Parameters, moments, running statistics, schedule scalars: the same in all plans of a run.
    Persistent,
    /// Everything else; shared by all plans of a run, which run one at a time.
    Transient,
}

/// The place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub region: Region,
    /// Bytes from the start of the region, a multiple of [`ALIGNMENT`].
    pub offset: usize,
    pub shape: Shape,
    pub dtype: DType,
}

impl Slot {
    /// The size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.len() * self.dtype.size()
    }
}

/// One instruction with the places of its values.
#[derive(Clone, Debug)]
pub struct Step {
    pub instruction: Instruction,
    pub inputs: Vec<Slot>,
    /// Never overlap one another, the inputs or the workspace. A persistent output is read and written in place.
    pub outputs: Vec<Slot>,
    /// Scratch bytes that the backend asked for, uninitialised.
    pub workspace: Option<Slot>,
    /// Bytes for what the backend makes of the step's parameters alone, where that lasts: no other value of the plan lies on them.
    pub prepared: Option<Slot>,
}

/// An instruction that a backend is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub instruction: &'a Instruction,
    pub inputs: &'a [Shape],
    pub outputs: &'a [Shape],
    /// As [`Step::half_type`].
    pub half: Option<DType>,
    /// Whether all of the instruction's parameters ([`crate::ops::Op::is_parameter`]) are persistent and the plan leaves them as they are, so
    /// that what is made of them lasts from run to run.
    pub lasts: bool,
}

/// Scratch memory that a backend needs for an instruction, in bytes. A function of the request and of how the backend was opened; some of
/// it can be one for each thread, but no result depends on that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Of [`Step::workspace`].
    pub workspace: usize,
    /// Of [`Step::prepared`]; 0 where nothing lasts.
    pub prepared: usize,
}

impl Scratch {
    /// A workspace alone.
    pub fn workspace(bytes: usize) -> Scratch {
        Scratch { workspace: bytes, prepared: 0 }
    }
}

/// What tells the scratch memory of an instruction.
pub type ScratchOf<'a> = &'a dyn Fn(&Request<'_>) -> Scratch;

/// Where each persistent value lies. Made once per run from its largest tape (the training step) and shared by all of its plans.
#[derive(Clone, Debug, Default)]
pub struct PersistentLayout {
    slots: BTreeMap<String, Slot>,
    bytes: usize,
}

impl PersistentLayout {
    /// Gives every persistent value of `tapes` a place, in order of first appearance. Rewrites can add such values ([`OVERFLOW`]): these
    /// are the tapes as they will be run, behind [`rewrite`].
    pub fn new(tapes: &[&Tape]) -> Self {
        arena::lay_out_persistent(tapes)
    }

    /// The place of the value called `name`.
    pub fn get(&self, name: &str) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    /// All names and places, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.slots.iter().map(|(name, slot)| (name.as_str(), *slot))
    }

    /// The size of the persistent region in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// In which numbers a plan stores what it computes. The arithmetic is f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Images and the convolutions' weights as f16; parameters, moments, statistics and the gradients of parameters as f32, and the
    /// updates guarded against overflow.
    Mixed,
    /// Images as bf16, which has the range of f32: nothing overflows that would not in f32, so that nothing is scaled or guarded. Weights are
    /// f32, and rounded where they are multiplied.
    Bf16,
}

impl Precision {
    /// As options and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Mixed => "mixed",
            Precision::Bf16 => "bf16",
        }
    }

    /// The type that images and the convolutions' weights are stored as, where it is not f32.
    pub fn stored(self) -> Option<DType> {
        match self {
            Precision::F32 => None,
            Precision::Mixed => Some(DType::F16),
            Precision::Bf16 => Some(DType::Bf16),
        }
    }

    /// Whether gradients can pass what is stored long before f32 ends: the loss is then scaled, and updates are guarded ([`OVERFLOW`]).
    pub fn can_overflow(self) -> bool {
        self == Precision::Mixed
    }
}

/// What to do on the way from tape to plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// Rewrite the list so that it takes fewer passes over memory. Without it the plan runs what was recorded: for tests.
    pub fuse: bool,
    pub precision: Precision,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions { fuse: true, precision: Precision::default() }
    }
}

/// The list that a plan with these options runs for a tape: fused, and in its precision.
pub fn rewrite(tape: &Tape, options: PlanOptions) -> Tape {
    fuse::rewrite(tape, options)
}

/// As [`rewrite`], for a device on which convolutions normalise their results ([`crate::ops::conv2d_normalised`]).
pub fn normalise_convolutions(mut tape: Tape) -> Tape {
    fuse::normalise_convolutions(&mut tape);
    tape
}

/// A tape made ready to run. Kernels rely on what is checked when it is made: that shapes and types of every step follow its operation's
/// rule. So nobody can change steps afterwards, except for where they lie, which a backend checks whenever it runs them.
#[derive(Clone, Debug)]
pub struct Plan {
    id: u64,
    steps: Vec<Step>,
    transient_bytes: usize,
    inputs: BTreeMap<String, Slot>,
    outputs: BTreeMap<String, Slot>,
}

/// The type of 16 bits among some types.
fn half_type(mut types: impl Iterator<Item = DType>) -> Option<DType> {
    types.find(|dtype| dtype.is_half())
}

impl Step {
    /// The type of 16 bits that some of its values are stored as, if any are: which kind of kernels it takes.
    pub fn half_type(&self) -> Option<DType> {
        half_type(self.inputs.iter().chain(&self.outputs).map(|slot| slot.dtype))
    }
}

impl Plan {
    /// Rewrites the tape and places it.
    ///
    /// # Errors
    /// If a persistent value of the rewritten tape is missing from `layout`.
    pub fn new(tape: &Tape, layout: &PersistentLayout, options: PlanOptions, scratch: ScratchOf<'_>) -> Result<Plan> {
        Plan::place(&rewrite(tape, options), layout, scratch)
    }

    /// Computes lifetimes and gives every value of a rewritten tape its place.
    ///
    /// # Errors
    /// If a persistent value of the tape is missing from `layout`.
    pub fn place(rewritten: &Tape, layout: &PersistentLayout, scratch: ScratchOf<'_>) -> Result<Plan> {
        check(rewritten);
        arena::place(rewritten, layout, scratch)
    }

    /// A number that no other plan of this process has, but for its clones: for what a backend keeps of a plan.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The instructions in the order of execution.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Bytes of the transient region that this plan needs.
    pub fn transient_bytes(&self) -> usize {
        self.transient_bytes
    }

    /// Gives every slot of every step the offset that `place` says, one after another: for tests that put guards around values, and for
    /// benchmarks that rotate them. The places of the plan's inputs and outputs by name do not follow.
    pub fn relocate(&mut self, mut place: impl FnMut(&Slot) -> usize) {
        self.id = new_id();
        for step in &mut self.steps {
            for slot in step.inputs.iter_mut().chain(&mut step.outputs).chain(&mut step.workspace).chain(&mut step.prepared) {
                slot.offset = place(slot);
            }
        }
    }

    /// The place of the input that the host writes as `name`.
    pub fn input(&self, name: &str) -> Option<Slot> {
        self.inputs.get(name).copied()
    }

    /// The place of the output that the host reads as `name`.
    pub fn output(&self, name: &str) -> Option<Slot> {
        self.outputs.get(name).copied()
    }
}

fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Checks what a tape has checked when recording once more for the operations that rewrites have put there: shapes and types.
fn check(tape: &Tape) {
    for node in tape.nodes() {
        let (inputs, outputs) = (tape.kinds(&node.inputs), tape.kinds(&node.outputs));
        let follows = node.instruction.infer(&inputs).is_ok_and(|inferred| inferred == outputs);
        assert!(follows, "{} from {inputs:?} to {outputs:?} breaks its rule", node.instruction.name());
    }
}
