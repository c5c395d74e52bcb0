use super::*;
use crate::model::{Arch, NetworkSpec, Target};
use crate::ops::Instruction;
use crate::ops::batch_norm::Gate;
use crate::ops::dice_bce::LossParameters;
use crate::plan::Precision;
use crate::tape::{Residence, Shape};
use std::collections::BTreeMap;

fn fuse(tape: &Tape) -> Tape {
    rewrite(tape, PlanOptions::default())
}

pub(super) fn spec(arch: Arch, levels: usize) -> NetworkSpec {
    NetworkSpec { arch, base: 4, levels, channels_in: 1, channels_out: 2 }
}

pub(super) fn training(arch: Arch, levels: usize) -> Tape {
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    spec(arch, levels).record_training(2, [32, 32], loss, Target::Given).unwrap()
}

fn counts(tape: &Tape) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    tape.nodes().iter().for_each(|n| *counts.entry(n.instruction.name()).or_default() += 1);
    counts
}

/// Every node's shapes and types fit its own rule, every transient value is written once and before it is read.
pub(super) fn assert_sound(tape: &Tape) {
    let mut written: Vec<bool> = tape.values().iter().map(|v| v.residence != Residence::Transient).collect();
    for node in tape.nodes() {
        let name = node.instruction.name();
        let expected = node.instruction.infer(&tape.kinds(&node.inputs)).unwrap();
        assert_eq!(tape.kinds(&node.outputs), expected, "{name}");
        assert!(node.inputs.iter().all(|v| written[v.index()]), "{name} reads what nobody has written");
        for v in &node.outputs {
            let twice = written[v.index()] && tape.values()[v.index()].residence == Residence::Transient;
            assert!(!twice, "{name} writes {v:?} for the second time");
            written[v.index()] = true;
        }
    }
    assert!(tape.outputs().iter().all(|(_, v)| written[v.index()]));
}

/// Whatever the precision: at inference all normalisations but those with a residual go into their convolutions, in training none.
#[test]
fn convolutions_normalise_at_inference() {
    for (arch, levels) in [(Arch::Standard, 4), (Arch::Deep, 5), (Arch::Residual, 4)] {
        for precision in [Precision::F32, Precision::Mixed, Precision::Bf16] {
            let options = PlanOptions { fuse: true, precision };
            let inference = rewrite(&spec(arch, levels).record_inference(2, [32, 32]).unwrap(), options);
            let mut normalised = inference.clone();
            normalise_convolutions(&mut normalised);
            assert_sound(&normalised);
            let (before, after) = (counts(&inference), counts(&normalised));
            let blocks = 2 * levels + 1;
            let left = if arch == Arch::Residual { blocks } else { 0 };
            assert_eq!(after.get("batch_norm_apply").copied().unwrap_or(0), left, "{arch:?}");
            assert_eq!(after["conv2d_normalised"], before["batch_norm_apply"] - left, "{arch:?}");
            assert_eq!(after["conv2d_normalised"] + after["conv2d"], before["conv2d"], "{arch:?}");
            let training = rewrite(&training(arch, levels), options);
            let mut same = training.clone();
            normalise_convolutions(&mut same);
            assert_eq!(same.nodes(), training.nodes(), "{arch:?}");
        }
    }
}

/// What somebody else reads, and what has a bias, is not taken in.
#[test]
fn other_readers_keep_their_convolution() {
    use crate::ops::{batch_norm::BatchNormApply, conv2d::Conv2d};
    let record = |bias: bool, is_output: bool| {
        let mut tape = Tape::new();
        let x = tape.input("x", Shape::image(1, 4, 4, 2), crate::tape::DType::F32);
        let w = tape.persistent("w", Shape([3, 3, 2, 2]));
        let numbers = ["mean", "var", "gamma", "beta", "bias"].map(|name| tape.persistent(name, Shape::channels(2)));
        let inputs = if bias { vec![w, x, numbers[4]] } else { vec![w, x] };
        let z = tape.record_one(Instruction::Conv2d(Conv2d { two_inputs: false, bias }), &inputs).unwrap();
        let apply = Instruction::BatchNormApply(BatchNormApply { eps: 1e-5, residual: false, relu: true });
        let y = tape.record_one(apply, &[z, numbers[0], numbers[1], numbers[2], numbers[3]]).unwrap();
        tape.output("y", y);
        if is_output {
            tape.output("z", z);
        }
        normalise_convolutions(&mut tape);
        counts(&tape).contains_key("conv2d_normalised")
    };
    assert_eq!([(false, false), (true, false), (false, true)].map(|(b, o)| record(b, o)), [true, false, false]);
}

/// Only a sum with a residual has to be looked at again in the backward pass.
#[test]
fn gradients_behind_relu_read_the_output_only_with_a_residual() {
    for (arch, levels) in [(Arch::Standard, 4), (Arch::Residual, 4)] {
        let fused = fuse(&training(arch, levels));
        let gates = |of: fn(&Instruction) -> Option<Gate>| {
            let mut gates: Vec<String> =
                fused.nodes().iter().filter_map(|n| of(&n.instruction)).map(|g| format!("{g:?}")).collect();
            gates.sort_unstable();
            gates
        };
        let of_forward = gates(|i| match i {
            Instruction::BatchNormApply(a) => Some(Gate::of(a.residual, a.relu)),
            _ => None,
        });
        let of_reduce = gates(|i| match i {
            Instruction::BatchNormGradReduce(g) => Some(g.gate),
            _ => None,
        });
        let of_apply = gates(|i| match i {
            Instruction::BatchNormGradApply(g) => Some(g.gate),
            _ => None,
        });
        assert_eq!([&of_reduce, &of_apply], [&of_forward; 2], "{arch:?}");
        assert_eq!(of_forward.iter().all(|gate| gate == "Normalised"), arch == Arch::Standard);
    }
}

#[test]
fn every_relu_concat_and_split_of_the_networks_goes() {
    for (arch, levels) in [(Arch::Standard, 4), (Arch::Deep, 5), (Arch::Residual, 4)] {
        let recorded = training(arch, levels);
        let fused = fuse(&recorded);
        assert_sound(&recorded);
        assert_sound(&fused);
        let (before, after) = (counts(&recorded), counts(&fused));
        assert!(before["relu"] > 0 && before["relu_grad"] > 0 && before["concat"] == levels && before["split"] == levels);
        for gone in ["relu", "relu_grad", "concat", "split"] {
            assert_eq!(after.get(gone), None, "{arch:?}: {gone}");
        }
        for kept in ["conv2d", "conv2d_data_grad", "conv2d_weight_grad", "batch_norm_apply", "adam", "batch_norm_update"] {
            assert_eq!(before[kept], after[kept], "{arch:?}: {kept}");
        }
    }
}

#[test]
fn inference_fuses_too() {
    for arch in [Arch::Standard, Arch::Residual] {
        let recorded = spec(arch, 3).record_inference(1, [32, 32]).unwrap();
        let fused = fuse(&recorded);
        assert_sound(&fused);
        let after = counts(&fused);
        assert!(["relu", "concat", "add"].iter().all(|gone| !after.contains_key(gone)), "{after:?}");
    }
}

#[test]
fn adam_follows_its_gradient_and_the_last_reader_of_its_parameter() {
    let fused = fuse(&training(Arch::Residual, 2));
    let nodes = fused.nodes();
    for (index, node) in nodes.iter().enumerate().filter(|(_, n)| matches!(n.instruction, Instruction::Adam(_))) {
        let parameter = node.outputs[0];
        assert!(nodes[index + 1..].iter().all(|n| !n.inputs.contains(&parameter)), "read after its update");
        let ready = nodes[..index].iter().rposition(|n| n.outputs.contains(&node.inputs[0]) || n.inputs.contains(&parameter));
        let between = &nodes[ready.unwrap() + 1..index];
        assert!(between.iter().all(|n| matches!(n.instruction, Instruction::Adam(_))), "an update waits for no reason");
    }
}

#[test]
fn what_the_host_reads_is_not_fused_away() {
    use crate::ops::{batch_norm, concat, conv2d, relu, sigmoid};
    use crate::tape::DType;
    let mut tape = Tape::new();
    let x = tape.input("x", Shape::image(1, 4, 4, 2), DType::F32);
    let vectors = ["mean", "var", "gamma", "beta"].map(|name| tape.persistent(name, Shape::channels(2)));
    let apply = batch_norm::BatchNormApply { eps: 1e-5, residual: false, relu: false };
    let inputs: Vec<_> = [x].into_iter().chain(vectors).collect();
    let z = tape.record_one(Instruction::BatchNormApply(apply), &inputs).unwrap();
    let y = tape.record_one(Instruction::Relu(relu::Relu {}), &[z]).unwrap();
    let both = tape.record_one(Instruction::Concat(concat::Concat {}), &[y, x]).unwrap();
    let w = tape.persistent("w", Shape([1, 1, 4, 3]));
    let conv = conv2d::Conv2d { two_inputs: false, bias: false };
    let head = tape.record_one(Instruction::Conv2d(conv), &[w, both]).unwrap();
    let unused = tape.record_one(Instruction::Sigmoid(sigmoid::Sigmoid {}), &[head]).unwrap();
    tape.output("z", z);
    tape.output("both", both);
    tape.output("head", head);
    let fused = fuse(&tape);
    assert_sound(&fused);
    let names: Vec<_> = fused.nodes().iter().map(|n| n.instruction.name()).collect();
    assert_eq!(names, ["batch_norm_apply", "relu", "concat", "conv2d"], "the sigmoid {unused:?} is dead");
}
