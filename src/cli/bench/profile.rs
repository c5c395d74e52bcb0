//! Where the time of a plan goes, by operation.

use super::median;
use crate::backend::Session;
use crate::error::Result;
use crate::plan::{Plan, Slot};
use crate::tape::Shape;
use serde::Serialize;

/// One line of the profile: all steps of one operation on one shape.
#[derive(Serialize)]
pub(super) struct Row {
    pub operation: String,
    pub calls: usize,
    pub ms: f64,
    pub gflop_per_s: f64,
    pub share: f64,
}

/// Times every step of the plan on its own, `rounds` times, and adds up those of one operation on one shape.
pub(super) fn measure(session: &mut Session, rounds: usize) -> Result<Vec<Row>> {
    let n = session.plans()[0].steps().len();
    let mut times = vec![Vec::with_capacity(rounds); n];
    for _ in 0..rounds {
        for timing in session.run_profiled(0)? {
            times[timing.step].push(timing.seconds);
        }
    }
    let plan = &session.plans()[0];
    let mut rows: Vec<(Row, u64)> = Vec::new();
    for (i, times) in times.iter_mut().enumerate() {
        times.sort_by(f64::total_cmp);
        let operation = describe(plan, i);
        let known = rows.iter().position(|(row, _)| row.operation == operation).unwrap_or_else(|| {
            rows.push((Row { operation, calls: 0, ms: 0.0, gflop_per_s: 0.0, share: 0.0 }, 0));
            rows.len() - 1
        });
        rows[known].0.calls += 1;
        rows[known].0.ms += median(times) * 1e3;
        rows[known].1 += flops(plan, i);
    }
    let total: f64 = rows.iter().map(|(row, _)| row.ms).sum();
    for (row, flops) in &mut rows {
        row.share = row.ms / total;
        row.gflop_per_s = *flops as f64 / (row.ms * 1e6);
    }
    let mut rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    rows.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok(rows)
}

/// `conv2d 128x128 64 -> 32`: the operation, its largest image, channels in and out. Adam is one line for all parameters.
fn describe(plan: &Plan, step: usize) -> String {
    let step = &plan.steps()[step];
    let name = step.instruction.name();
    if name == "adam" {
        return name.into();
    }
    let images = step.inputs.iter().chain(&step.outputs).map(|s| s.shape);
    let largest = images.filter(|s| s.h() > 3).max_by_key(|s| s.pixels());
    let weights = step.inputs.iter().chain(&step.outputs).map(|s| s.shape).find(|s| (2..=3).contains(&s.h()) && s.h() == s.w());
    match (largest, weights) {
        (Some(image), Some(w)) => format!("{name} {}x{} {} -> {}", image.h(), image.w(), w.0[2], w.c()),
        (Some(image), None) => format!("{name} {}x{} {}", image.h(), image.w(), image.c()),
        (None, _) => name.into(),
    }
}

/// Floating-point operations of one step of a plan.
pub(super) fn flops(plan: &Plan, step: usize) -> u64 {
    let step = &plan.steps()[step];
    let shapes = |slots: &[Slot]| slots.iter().map(|s| s.shape).collect::<Vec<Shape>>();
    step.instruction.op().flops(&shapes(&step.inputs), &shapes(&step.outputs))
}
