//! The assignment of instances to channels. Kernels: `kernels/assign.cu`.

use super::program::{Lowering, Value};
use super::rows::{self, Rows};
use crate::ops::assign::{Assign, Assignment, MAX_CHANNELS};
use crate::tape::{DType, Shape};
use bytemuck::NoUninit;

const SUMS_THREADS: u32 = 128;
const CHOICE_THREADS: u32 = 256;
/// Pixels of a partial sum.
const CHUNK: usize = 1024;

const _: () = assert!(MAX_CHANNELS == 8, "as kernels/assign.cu says");

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AssignSumsParameters {
    z: u64,
    labels: u64,
    u: u64,
    partials: u64,
    pixels: i64,
    chunks: i32,
    channels: i32,
    w: i32,
    padding: i32,
}

const _: () = assert!(size_of::<AssignSumsParameters>() == 56);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AssignChooseParameters {
    partials: u64,
    chosen: u64,
    chunks: i32,
    channels: i32,
}

const _: () = assert!(size_of::<AssignChooseParameters>() == 24);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AssignTargetParameters {
    labels: u64,
    chosen: u64,
    target: u64,
    rows: Rows,
    h: i32,
    w: i32,
    channels: i32,
    padding: i32,
}

const _: () = assert!(size_of::<AssignTargetParameters>() == 48);

fn chunks(z: Shape) -> usize {
    (z.h() * z.w()).div_ceil(CHUNK)
}

/// Columns in which a pixel's numbers are summed.
fn columns(assignment: Assignment, z: Shape) -> usize {
    match assignment {
        Assignment::LeastCost => z.c() + 1,
        Assignment::Spatial => 2,
    }
}

/// Bytes of the partial sums, pairs of f64, and of the channels that were chosen.
fn sizes(op: &Assign, z: Shape) -> [usize; 2] {
    let pairs = z.n() * chunks(z) * columns(op.assignment, z) * (z.c() + 1);
    [2 * size_of::<f64>() * pairs, size_of::<i32>() * z.n() * z.c()]
}

pub(super) fn workspace(op: &Assign, z: Shape) -> usize {
    sizes(op, z).iter().sum()
}

pub(super) fn run(op: &Assign, lowering: &mut Lowering<'_>) {
    let z = lowering.input(0).shape;
    let [partial_bytes, chosen_bytes] = sizes(op, z);
    let partials = lowering.workspace().part(0, partial_bytes, DType::U8);
    let chosen = lowering.workspace().part(partial_bytes, chosen_bytes, DType::U8);
    sum_chunks(op, partials, lowering);
    let kernel = match op.assignment {
        Assignment::LeastCost => "assign_choose_least_cost",
        Assignment::Spatial => "assign_choose_spatial",
    };
    let mut call = lowering.call("assign", kernel);
    let parameters = AssignChooseParameters {
        partials: call.read(partials),
        chosen: call.write(chosen),
        chunks: chunks(z) as i32,
        channels: z.c() as i32,
    };
    lowering.push(call, [z.n(), 1, 1], CHOICE_THREADS, &parameters);
    write_target(chosen, lowering);
}

fn sum_chunks(op: &Assign, partials: Value, lowering: &mut Lowering<'_>) {
    let [z, labels, u] = [0, 1, 2].map(|i| lowering.input(i));
    let (shape, chunks) = (z.shape, chunks(z.shape));
    let is_by_answer = op.assignment == Assignment::LeastCost;
    let mut call = lowering.call("assign", if is_by_answer { "assign_answer_sums" } else { "assign_place_sums" });
    let parameters = AssignSumsParameters {
        z: call.read(z),
        labels: call.read(labels),
        u: call.read(u),
        partials: call.write(partials),
        pixels: (shape.h() * shape.w()) as i64,
        chunks: chunks as i32,
        channels: shape.c() as i32,
        w: shape.w() as i32,
        padding: 0,
    };
    lowering.push(call, [shape.n() * chunks, 1, 1], SUMS_THREADS, &parameters);
}

fn write_target(chosen: Value, lowering: &mut Lowering<'_>) {
    let (labels, target) = (lowering.input(1), lowering.output(0));
    let shape = target.shape;
    let row = shape.w() * shape.c();
    let (rows, grid) = rows::cut(shape.n() * shape.h(), row / rows::per_item(&[row], DType::F32));
    let mut call = lowering.call("assign", "assign_target");
    let parameters = AssignTargetParameters {
        labels: call.read(labels),
        chosen: call.read(chosen),
        target: call.write(target),
        rows,
        h: shape.h() as i32,
        w: shape.w() as i32,
        channels: shape.c() as i32,
        padding: 0,
    };
    lowering.push(call, grid, rows::THREADS, &parameters);
}
