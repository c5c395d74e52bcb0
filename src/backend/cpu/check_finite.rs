//! Whether a gradient is finite. Formula: [`crate::ops::check_finite`].

use super::arena::Operands;
use rayon::prelude::*;

/// Floats of a task.
const TASK_FLOATS: usize = 32_768;

pub(super) fn run(operands: &mut Operands) {
    let (g, overflow) = (operands.input(0), operands.output(0));
    // Without leaving a task early, so that the loop becomes vector code: nearly always all numbers are finite.
    let is_broken = |task: &[f32]| task.iter().fold(false, |broken, x| broken | !x.is_finite());
    if g.par_chunks(TASK_FLOATS).any(is_broken) {
        overflow[0] = 1.0;
    }
}

/// Whether the input `index`, if the step has it, is a raised `overflow`: then an update leaves everything as it was.
pub(super) fn is_raised(operands: &Operands, index: usize) -> bool {
    index < operands.n_inputs() && operands.input(index)[0] != 0.0
}
