//! Where the time of a plan goes, by operation.

use super::median;
use crate::backend::Session;
use crate::backend::cpu::Machine;
use crate::error::Result;
use crate::plan::{Plan, Slot};
use crate::tape::Shape;
use serde::Serialize;

/// One line of the profile: all steps of one operation on one shape.
#[derive(Serialize)]
pub(super) struct Row {
    pub operation: String,
    pub calls: usize,
    /// Medians of the rounds.
    pub ms: f64,
    /// Of the quickest rounds: on a machine that others use too, what comes nearest to the work itself.
    pub ms_min: f64,
    pub gflop_per_s: f64,
    /// Inputs and outputs, each moved once.
    pub gb_per_s: f64,
    /// The time that this machine's roof would take over the time taken; `None` on a GPU. Convolutions count the products of their
    /// definition, of which Winograd's way needs a quarter: they may pass 1.
    pub of_roofline: Option<f64>,
    pub share: f64,
}

/// Work and traffic of one line.
#[derive(Clone, Copy, Default)]
struct Cost {
    flops: u64,
    bytes: u64,
}

/// Times every step of the plan on its own, `rounds` times, and adds up those of one operation on one shape.
pub(super) fn measure(session: &mut Session, rounds: usize, machine: Option<Machine>) -> Result<Vec<Row>> {
    let n = session.plans()[0].steps().len();
    let mut times = vec![Vec::with_capacity(rounds); n];
    for _ in 0..rounds {
        for timing in session.run_profiled(0)? {
            times[timing.step].push(timing.seconds);
        }
    }
    let plan = &session.plans()[0];
    let mut rows: Vec<(Row, Cost)> = Vec::new();
    for (i, times) in times.iter_mut().enumerate() {
        times.sort_by(f64::total_cmp);
        let operation = describe(plan, i);
        let known = rows.iter().position(|(row, _)| row.operation == operation).unwrap_or_else(|| {
            let row =
                Row { operation, calls: 0, ms: 0.0, ms_min: 0.0, gflop_per_s: 0.0, gb_per_s: 0.0, of_roofline: None, share: 0.0 };
            rows.push((row, Cost::default()));
            rows.len() - 1
        });
        rows[known].0.calls += 1;
        rows[known].0.ms += median(times) * 1e3;
        rows[known].0.ms_min += times[0] * 1e3;
        rows[known].1.flops += flops(plan, i);
        rows[known].1.bytes += bytes(plan, i);
    }
    let total: f64 = rows.iter().map(|(row, _)| row.ms).sum();
    for (row, cost) in &mut rows {
        row.share = row.ms / total;
        row.gflop_per_s = cost.flops as f64 / (row.ms * 1e6);
        row.gb_per_s = cost.bytes as f64 / (row.ms * 1e6);
        row.of_roofline = machine.map(|m| (row.gflop_per_s / m.gflop_per_s).max(row.gb_per_s / m.gb_per_s));
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
    let weights = match name {
        "conv2d_weight_grad" | "conv_transpose2d_weight_grad" => Some(step.outputs[0].shape),
        _ if name.starts_with("conv") => Some(step.inputs[0].shape),
        _ => None,
    };
    match (largest, weights) {
        (Some(image), Some(w)) => format!("{name} {}x{} {} -> {}", image.h(), image.w(), w.0[2], w.c()),
        (Some(image), None) => format!("{name} {}x{} {}", image.h(), image.w(), image.c()),
        (None, _) => name.into(),
    }
}

/// Bytes of a step's inputs and outputs.
fn bytes(plan: &Plan, step: usize) -> u64 {
    let step = &plan.steps()[step];
    step.inputs.iter().chain(&step.outputs).map(|s| s.bytes() as u64).sum()
}

/// Floating-point operations of one step of a plan.
pub(super) fn flops(plan: &Plan, step: usize) -> u64 {
    let step = &plan.steps()[step];
    let shapes = |slots: &[Slot]| slots.iter().map(|s| s.shape).collect::<Vec<Shape>>();
    step.instruction.op().flops(&shapes(&step.inputs), &shapes(&step.outputs))
}
