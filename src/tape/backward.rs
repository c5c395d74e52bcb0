//! The backward pass: adjoints appended to the tape in reverse order.

use super::{Tape, ValueId};
use crate::error::{Error, Result};
use crate::ops::Instruction;
use crate::ops::add::Add;
use std::collections::{HashMap, HashSet};

impl Tape {
    /// Appends the adjoints of all operations that lead from `wanted` values to `loss`, and returns the gradients of `wanted`.
    ///
    /// `seed` is the upstream gradient of `loss` (same shape; a persistent scalar holding 1, or the loss scale). A value that is used
    /// several times sums its gradients in the order in which the backward pass meets them. No gradient is computed that
    /// `wanted` does not need, and none through an operation whose outputs are constants ([`crate::ops::Op::is_constant`]). A wanted value that `loss` does not depend on is missing from the answer.
    ///
    /// # Errors
    /// If an operation on the way has no adjoint, or `seed` has another shape than `loss`.
    pub fn backward(&mut self, loss: ValueId, seed: ValueId, wanted: &[ValueId]) -> Result<HashMap<ValueId, ValueId>> {
        if self.shape(seed) != self.shape(loss) {
            let found = format!("{:?} for a loss of shape {:?}", self.shape(seed), self.shape(loss));
            return Err(Error::usage(format!("backward: the upstream gradient has shape {found}")));
        }
        let needed = self.values_that_depend_on(wanted);
        let mut gradients: HashMap<ValueId, ValueId> = HashMap::from([(loss, seed)]);
        for index in (0..self.nodes.len()).rev() {
            let node = self.nodes[index].clone();
            let upstream: Vec<Option<ValueId>> = node.outputs.iter().map(|o| gradients.get(o).copied()).collect();
            let wants: Vec<bool> = node.inputs.iter().map(|i| needed.contains(i)).collect();
            if upstream.iter().all(Option::is_none) || !wants.contains(&true) {
                continue;
            }
            let contributions = node.instruction.op().adjoint(self, &node, &upstream, &wants)?;
            for (&input, contribution) in node.inputs.iter().zip(contributions) {
                let Some(contribution) = contribution else { continue };
                assert_eq!(self.shape(contribution), self.shape(input), "gradient of {}", node.instruction.name());
                let sum = match gradients.get(&input) {
                    Some(&earlier) => self.record_one(Instruction::Add(Add {}), &[earlier, contribution])?,
                    None => contribution,
                };
                gradients.insert(input, sum);
            }
        }
        gradients.retain(|value, _| wanted.contains(value));
        Ok(gradients)
    }

    fn values_that_depend_on(&self, sources: &[ValueId]) -> HashSet<ValueId> {
        let mut dependent: HashSet<ValueId> = sources.iter().copied().collect();
        for node in self.nodes.iter().filter(|node| !node.instruction.op().is_constant()) {
            if node.inputs.iter().any(|i| dependent.contains(i)) {
                dependent.extend(&node.outputs);
            }
        }
        dependent
    }
}

#[cfg(test)]
mod tests;
