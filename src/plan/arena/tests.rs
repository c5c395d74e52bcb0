use super::*;
use crate::model::{Arch, NetworkSpec, Target};
use crate::ops::dice_bce::LossParameters;
use crate::plan::{PlanOptions, rewrite};
use proptest::prelude::*;

fn no_scratch(_: &Request<'_>) -> Scratch {
    Scratch::default()
}

fn block(from: usize, len: usize, bytes: usize) -> Block {
    Block { owner: Owner::Workspace(from), life: Lifetime { from, to: from + len }, bytes: aligned(bytes) }
}

/// The most bytes that are alive at one step: what no placement can undercut.
fn live_bytes_max(blocks: &[Block]) -> usize {
    let last = blocks.iter().map(|b| b.life.to).max().unwrap_or(0);
    (0..=last).map(|t| blocks.iter().filter(|b| b.life.from <= t && t <= b.life.to).map(|b| b.bytes).sum()).max().unwrap_or(0)
}

fn assert_apart(blocks: &[Block], offsets: &[usize]) {
    for i in 0..blocks.len() {
        assert_eq!(offsets[i] % ALIGNMENT, 0);
        for j in 0..i {
            let apart = offsets[i] + blocks[i].bytes <= offsets[j] || offsets[j] + blocks[j].bytes <= offsets[i];
            assert!(apart || !blocks[i].life.meets(blocks[j].life), "blocks {:?} and {:?} overlap", blocks[i], blocks[j]);
        }
    }
}

proptest! {
    #[test]
    fn blocks_that_meet_in_time_never_overlap(sizes in prop::collection::vec((0..30usize, 0..12usize, 1..5000usize), 1..40)) {
        let blocks: Vec<Block> = sizes.into_iter().map(|(from, len, bytes)| block(from, len, bytes)).collect();
        let (offsets, bytes) = pack(&blocks);
        assert_apart(&blocks, &offsets);
        prop_assert!(bytes >= live_bytes_max(&blocks));
        prop_assert!(bytes <= blocks.iter().map(|b| b.bytes).sum());
        prop_assert_eq!(bytes, blocks.iter().zip(&offsets).map(|(b, o)| o + b.bytes).max().unwrap());
    }
}

#[test]
fn a_gap_is_used_again() {
    let blocks = [block(0, 9, 640), block(0, 2, 128), block(3, 2, 128), block(6, 3, 64), block(0, 9, 64)];
    let (offsets, bytes) = pack(&blocks);
    assert_eq!(bytes, 640 + 128 + 64, "places {offsets:?}");
}

fn training(arch: Arch, levels: usize, base: usize, batch: usize, size: usize) -> Tape {
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let spec = NetworkSpec { arch, base, levels, channels_in: 1, channels_out: 1 };
    spec.record_training(batch, [size, size], loss, Target::Given).unwrap()
}

#[test]
fn networks_pack_within_a_twentieth_of_the_lower_bound() {
    for (arch, levels) in [(Arch::Standard, 4), (Arch::Deep, 5), (Arch::Residual, 4)] {
        for fuse in [false, true] {
            let tape = rewrite(&training(arch, levels, 32, 4, 256), PlanOptions { fuse, ..PlanOptions::default() });
            let blocks = blocks(&tape, &Lifetimes::new(&tape), &vec![Scratch::default(); tape.nodes().len()]);
            let (offsets, bytes) = pack(&blocks);
            assert_apart(&blocks, &offsets);
            let least = live_bytes_max(&blocks);
            println!("{arch:?} fused {fuse}: {} MiB, at least {} MiB", bytes >> 20, least >> 20);
            assert!(bytes * 20 <= least * 21, "{arch:?} fused {fuse}: {bytes} bytes, at least {least}");
        }
    }
}

#[test]
fn inputs_outputs_and_workspace_of_a_step_are_apart() {
    let tape = training(Arch::Residual, 2, 3, 1, 8);
    let scratch = |request: &Request<'_>| Scratch::workspace(request.inputs[0].len() % 700);
    for fuse in [false, true] {
        let layout = PersistentLayout::new(&[&tape]);
        let plan = Plan::new(&tape, &layout, PlanOptions { fuse, ..PlanOptions::default() }, &scratch).unwrap();
        for step in plan.steps() {
            let ranges: Vec<(Region, usize, usize)> = (step.inputs.iter().chain(&step.outputs).chain(&step.workspace))
                .map(|s| (s.region, s.offset, s.offset + s.bytes()))
                .collect();
            for (i, a) in ranges.iter().enumerate() {
                for (j, b) in ranges[..i].iter().enumerate() {
                    // The same value may be read twice; what is written lies alone.
                    let both_read = i < step.inputs.len() && j < step.inputs.len() && a == b;
                    assert!(a.0 != b.0 || a.2 <= b.1 || b.2 <= a.1 || both_read, "{}: {a:?} and {b:?}", step.instruction.name());
                }
            }
            assert!(ranges.iter().all(|r| r.0 == Region::Persistent || r.2 <= plan.transient_bytes()));
        }
    }
}

/// What is prepared lies where no step of the plan reads or writes anything else, and only where parameters stay as they are.
#[test]
fn what_lasts_lies_apart_from_everything() {
    let spec = NetworkSpec { arch: Arch::Residual, base: 3, levels: 2, channels_in: 1, channels_out: 1 };
    let scratch = |request: &Request<'_>| {
        let bytes = request.inputs[0].len() % 700;
        Scratch { workspace: bytes, prepared: if request.lasts { bytes + 1 } else { 0 } }
    };
    let place = |tape: &Tape| Plan::place(tape, &PersistentLayout::new(&[tape]), &scratch).unwrap();
    let plan = place(&spec.record_inference(2, [8, 8]).unwrap());
    let is_convolution = |step: &&Step| step.instruction.multiplies_matrices();
    assert!(plan.steps().iter().filter(is_convolution).count() > 10);
    assert!(plan.steps().iter().all(|step| step.prepared.is_some() == is_convolution(&step)));
    let prepared: Vec<Slot> = plan.steps().iter().filter_map(|step| step.prepared).collect();
    let range = |s: &Slot| (s.offset, s.offset + s.bytes());
    for (i, a) in prepared.iter().map(range).enumerate() {
        let values = plan.steps().iter().flat_map(|step| step.inputs.iter().chain(&step.outputs).chain(&step.workspace));
        let values = values.filter(|slot| slot.region == Region::Transient).chain(&prepared[..i]);
        assert!(values.map(range).all(|b| a.1 <= b.0 || b.1 <= a.0), "{a:?} is used again");
        assert!(a.0 % ALIGNMENT == 0 && a.1 <= plan.transient_bytes());
    }
    assert!(place(&training(Arch::Residual, 2, 3, 1, 8)).steps().iter().all(|step| step.prepared.is_none()));
}

#[test]
fn the_same_tape_gives_the_same_places() {
    let tape = training(Arch::Residual, 3, 4, 2, 16);
    let layout = PersistentLayout::new(&[&tape]);
    let places = || {
        let plan = Plan::new(&tape, &layout, PlanOptions::default(), &no_scratch).unwrap();
        plan.steps()
            .iter()
            .flat_map(|s| s.inputs.iter().chain(&s.outputs).map(|s| s.offset).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(places(), places());
}

#[test]
fn a_missing_persistent_value_is_an_error_that_names_it() {
    let training = training(Arch::Standard, 1, 2, 2, 4);
    let layout = PersistentLayout::new(&[&Tape::new()]);
    let error = Plan::new(&training, &layout, PlanOptions::default(), &no_scratch).unwrap_err();
    assert!(error.to_string().contains("down.0.c1.weight"), "{error}");
}
