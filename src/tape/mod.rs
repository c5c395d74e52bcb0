//! The tape: a list of recorded operations over values with shapes, and nothing else.
//!
//! A network is recorded once, symbolically: no data, no device. [`Tape::backward`] appends each operation's adjoint as further
//! operations, in reverse order, so that the tape of a training step holds the forward pass, the backward pass and the optimiser.
//! What an operation is, its shape rule and its adjoint are told in that operation's file under [`crate::ops`]; a new operation
//! never edits this module.

mod backward;
mod shape;

pub use shape::{DType, Shape};

use crate::error::{Error, Result};
use crate::ops::Instruction;

/// A value on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// The index into [`Tape::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Residence {
    /// Written by the host before a run, under this name.
    Input(String),
    /// Kept from run to run under this name: parameters, moments, running statistics, schedule scalars.
    Persistent(String),
    /// Born and gone within a run.
    Transient,
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub shape: Shape,
    pub dtype: DType,
    pub residence: Residence,
}

/// One recorded operation. An output that is persistent is read and written in place (Adam, running statistics); it is not
/// listed among the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub instruction: Instruction,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
}

/// Recorded operations over values.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    values: Vec<Value>,
    nodes: Vec<Node>,
    outputs: Vec<(String, ValueId)>,
}

impl Tape {
    pub fn new() -> Self {
        Self::default()
    }

    /// All values, in order of creation.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All operations, in order of execution.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The values that the host reads after a run, with their names.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    pub fn shape(&self, value: ValueId) -> Shape {
        self.values[value.index()].shape
    }

    pub fn dtype(&self, value: ValueId) -> DType {
        self.values[value.index()].dtype
    }

    /// Whether a value outlives a run.
    pub fn is_persistent(&self, value: ValueId) -> bool {
        matches!(self.values[value.index()].residence, Residence::Persistent(_))
    }

    /// Whether a run changes what outlives it.
    pub fn has_updates(&self) -> bool {
        self.nodes.iter().flat_map(|node| &node.outputs).any(|&v| self.is_persistent(v))
    }

    /// Shapes and types of values: what an instruction is inferred from.
    pub fn kinds(&self, values: &[ValueId]) -> Vec<(Shape, DType)> {
        values.iter().map(|&v| (self.shape(v), self.dtype(v))).collect()
    }

    /// A value that the host writes before each run.
    ///
    /// # Panics
    /// If its size in bytes cannot be counted; whoever passes a user's numbers on checks them before.
    pub fn input(&mut self, name: &str, shape: Shape, dtype: DType) -> ValueId {
        assert!(shape.checked_len().is_some(), "the input {name} of shape {shape:?} is beyond any memory");
        self.push_value(shape, dtype, Residence::Input(name.to_string()))
    }

    /// A value that lives from run to run. Asking again for a name gives the same value.
    ///
    /// # Panics
    /// If the name is known with another shape.
    pub fn persistent(&mut self, name: &str, shape: Shape) -> ValueId {
        let known = self.values.iter().position(|v| matches!(&v.residence, Residence::Persistent(n) if n == name));
        if let Some(index) = known {
            assert_eq!(self.values[index].shape, shape, "persistent value {name} asked for with two shapes");
            return ValueId(index as u32);
        }
        self.push_value(shape, DType::F32, Residence::Persistent(name.to_string()))
    }

    /// Keeps `value` to the end of the run, to be read by the host as `name`.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push((name.to_string(), value));
    }

    /// Records an operation whose outputs are new transient values, shaped by the operation's own rule.
    ///
    /// # Errors
    /// If the shapes or types do not fit; the error names the operation, and the shapes or types.
    pub fn record(&mut self, instruction: Instruction, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        let outputs = instruction.infer(&self.kinds(inputs))?;
        if let Some((shape, _)) = outputs.iter().find(|(s, _)| s.checked_len().is_none()) {
            return Err(Error::usage(format!("{}: an output of shape {shape:?} is beyond any memory", instruction.name()))
                .remedy("use a smaller batch, input size or fewer channels"));
        }
        if let Some((shape, _)) = outputs.iter().find(|(s, _)| s.len() == 0) {
            return Err(Error::usage(format!(
                "{}: inputs {:?} give an empty output {shape:?}",
                instruction.name(),
                self.kinds(inputs)
            ))
            .remedy("use a larger input size or fewer levels"));
        }
        let ids: Vec<ValueId> =
            outputs.into_iter().map(|(shape, dtype)| self.push_value(shape, dtype, Residence::Transient)).collect();
        self.nodes.push(Node { instruction, inputs: inputs.to_vec(), outputs: ids.clone() });
        Ok(ids)
    }

    /// As [`Tape::record`], for operations with one output.
    pub fn record_one(&mut self, instruction: Instruction, inputs: &[ValueId]) -> Result<ValueId> {
        let outputs = self.record(instruction, inputs)?;
        assert_eq!(outputs.len(), 1, "one output asked for");
        Ok(outputs[0])
    }

    /// Records an operation that updates persistent values in place.
    ///
    /// # Errors
    /// If the shapes or types do not fit.
    pub fn record_update(&mut self, instruction: Instruction, inputs: &[ValueId], updated: &[ValueId]) -> Result<()> {
        let outputs = instruction.infer(&self.kinds(inputs))?;
        for (&value, kind) in updated.iter().zip(&outputs) {
            let persistent = self.is_persistent(value);
            let same = (self.shape(value), self.dtype(value)) == *kind;
            assert!(persistent && same, "{} updates {value:?} in place", instruction.name());
        }
        assert_eq!(updated.len(), outputs.len(), "{} updates {} values", instruction.name(), outputs.len());
        self.nodes.push(Node { instruction, inputs: inputs.to_vec(), outputs: updated.to_vec() });
        Ok(())
    }

    /// The operations, for rewrites of the list.
    pub(crate) fn nodes_mut(&mut self) -> &mut Vec<Node> {
        &mut self.nodes
    }

    /// A transient value that a rewrite gives to a node as its output.
    pub(crate) fn transient(&mut self, shape: Shape, dtype: DType) -> ValueId {
        self.push_value(shape, dtype, Residence::Transient)
    }

    /// Stores a transient value in another type: for rewrites that change its writer and its readers with it.
    pub(crate) fn set_dtype(&mut self, value: ValueId, dtype: DType) {
        let value = &mut self.values[value.index()];
        assert_eq!(value.residence, Residence::Transient, "only a transient value can change its type");
        value.dtype = dtype;
    }

    /// Lets the host read `value` as the output of this index.
    pub(crate) fn set_output(&mut self, index: usize, value: ValueId) {
        self.outputs[index].1 = value;
    }

    fn push_value(&mut self, shape: Shape, dtype: DType, residence: Residence) -> ValueId {
        self.values.push(Value { shape, dtype, residence });
        ValueId(self.values.len() as u32 - 1)
    }
}
