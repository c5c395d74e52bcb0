//! The list of a mixed training step: types, casts, checks and their order.

use super::tests::{assert_sound, spec, training};
use super::*;
use crate::model::{Arch, Parameter, ParameterKind};
use crate::ops::Instruction;
use crate::plan::{OVERFLOW, PersistentLayout, Plan, Precision, Scratch};
use crate::tape::{DType, Node, Residence, Shape, ValueId};
use std::collections::{BTreeMap, BTreeSet};

const NETWORKS: [(Arch, usize); 3] = [(Arch::Standard, 4), (Arch::Deep, 5), (Arch::Residual, 4)];

fn mixed(fuse: bool) -> PlanOptions {
    PlanOptions { fuse, precision: Precision::Mixed }
}

/// The mixed lists of the three networks' training steps, fused and not.
fn lists() -> impl Iterator<Item = (String, Tape)> {
    networks().map(|(arch, levels, fuse)| (format!("{arch:?}, fused {fuse}"), rewrite(&training(arch, levels), mixed(fuse))))
}

fn networks() -> impl Iterator<Item = (Arch, usize, bool)> {
    NETWORKS.into_iter().flat_map(|(arch, levels)| [false, true].map(|fuse| (arch, levels, fuse)))
}

fn name_of(tape: &Tape, v: ValueId) -> Option<&str> {
    match &tape.values()[v.index()].residence {
        Residence::Persistent(name) | Residence::Input(name) => Some(name),
        Residence::Transient => None,
    }
}

fn casts(tape: &Tape) -> impl Iterator<Item = (ValueId, ValueId)> {
    tape.nodes().iter().filter(|n| matches!(n.instruction, Instruction::Cast(_))).map(|n| (n.inputs[0], n.outputs[0]))
}

#[test]
fn types_follow_the_rule() {
    for (case, list) in lists() {
        assert_sound(&list);
        for node in list.nodes() {
            let name = node.instruction.name();
            let types: BTreeSet<String> =
                node.inputs.iter().chain(&node.outputs).map(|&v| format!("{:?}", list.dtype(v))).collect();
            // Only casts and operations with f32 vectors beside their images hold both.
            let is_image = |v: &&ValueId| list.shape(**v).pixels() > 1 && list.dtype(**v) == DType::F32;
            let full_images = node.inputs.iter().chain(&node.outputs).filter(is_image).count();
            match name {
                "adam" | "batch_norm_update" | "check_finite" | "dice_bce" | "dice_bce_grad" => {
                    assert_eq!(types.len(), 1, "{case}: {name}")
                }
                "conv2d_weight_grad" | "conv_transpose2d_weight_grad" => {
                    assert!(full_images <= 1, "{case}: {name}: dw alone is f32")
                }
                "cast" => assert_eq!(types.len(), 2, "{case}: a cast that changes nothing"),
                // The bias of the head takes the loss's gradient as it comes.
                "channel_sum" => {}
                _ => assert!(types.contains("F16") && full_images == 0, "{case}: {name} on {types:?}"),
            }
        }
        // Nobody outside of the list sees f16.
        assert!(list.values().iter().all(|v| v.residence == Residence::Transient || v.dtype == DType::F32));
        assert!(list.outputs().iter().all(|(_, v)| list.dtype(*v) == DType::F32), "{case}");
    }
}

#[test]
fn every_weight_of_a_convolution_is_cast_once_and_nothing_for_nothing() {
    for ((case, list), (arch, levels, _)) in lists().zip(networks()) {
        let is_kernel = |p: &Parameter| matches!(p.kind, ParameterKind::Weight { .. });
        let kernels: Vec<String> = spec(arch, levels).parameters().into_iter().filter(is_kernel).map(|p| p.name).collect();
        let mut n_casts: BTreeMap<&str, usize> = BTreeMap::new();
        casts(&list).filter_map(|(from, _)| name_of(&list, from)).for_each(|name| *n_casts.entry(name).or_default() += 1);
        let expected: BTreeMap<&str, usize> = kernels.iter().map(String::as_str).chain(["image"]).map(|name| (name, 1)).collect();
        assert_eq!(n_casts, expected, "{case}");
        // Of what is neither weight nor image only the logits come up and the loss's gradient goes down.
        let others = casts(&list).filter(|(from, _)| name_of(&list, *from).is_none());
        let mut types: Vec<_> = others.map(|(from, to)| (list.dtype(from), list.dtype(to))).collect();
        types.sort_by_key(|(from, _)| *from == DType::F32);
        assert_eq!(types, [(DType::F16, DType::F32), (DType::F32, DType::F16)], "{case}");
        let made: BTreeSet<ValueId> = casts(&list).map(|(_, to)| to).collect();
        assert!(casts(&list).all(|(from, _)| !made.contains(&from)), "{case}: a cast of a cast");
        let uses = Uses::new(&list);
        assert!(made.iter().all(|&v| !uses.readers(v).is_empty()), "{case}: a cast that nobody reads");
    }
}

#[test]
fn updates_wait_for_the_checks_of_all_gradients() {
    for (case, list) in lists() {
        let overflow = list.nodes().iter().find(|n| n.instruction.name() == "check_finite").map(|n| n.outputs[0]).unwrap();
        assert_eq!(name_of(&list, overflow), Some(OVERFLOW));
        let at = |names: &[&str]| -> Vec<usize> {
            (0..list.nodes().len()).filter(|&i| names.contains(&list.nodes()[i].instruction.name())).collect()
        };
        let (checks, updates) = (at(&["check_finite"]), at(&["adam", "batch_norm_update"]));
        assert!(checks.last() < updates.first(), "{case}");
        let checked: Vec<ValueId> = checks.iter().map(|&i| list.nodes()[i].inputs[0]).collect();
        let adams = at(&["adam"]);
        let gradients: BTreeSet<ValueId> = adams.iter().map(|&i| list.nodes()[i].inputs[0]).collect();
        assert_eq!(checked.len(), gradients.len(), "{case}: each gradient once");
        assert_eq!(checked.into_iter().collect::<BTreeSet<_>>(), gradients, "{case}");
        assert!(updates.iter().all(|&i| list.nodes()[i].inputs.last() == Some(&overflow)), "{case}");
        for &check in &checks {
            let writer = list.nodes().iter().position(|n| n.outputs.contains(&list.nodes()[check].inputs[0]));
            assert!(check - writer.unwrap() <= 2, "{case}: a check waits, and its gradient leaves the cache");
        }
    }
}

#[test]
fn inference_casts_too_and_checks_nothing() {
    for (arch, levels) in NETWORKS {
        let list = rewrite(&spec(arch, levels).record_inference(1, [32, 32]).unwrap(), mixed(true));
        assert_sound(&list);
        assert!(list.nodes().iter().all(|n| n.instruction.name() != "check_finite"));
        assert!(list.values().iter().all(|v| v.residence != Residence::Persistent(OVERFLOW.into())));
        assert!(casts(&list).count() > levels);
    }
}

#[test]
fn f32_lists_hold_no_cast_and_no_check() {
    for fuse in [false, true] {
        let list = rewrite(&training(Arch::Residual, 2), PlanOptions { fuse, precision: Precision::F32 });
        assert!(list.nodes().iter().all(|n| !matches!(n.instruction.name(), "cast" | "check_finite")));
        assert!(list.values().iter().all(|v| v.dtype != DType::F16 && v.residence != Residence::Persistent(OVERFLOW.into())));
    }
}

/// bf16 has the range of f32: the same list in another type, without what looks after overflow. Weights are not cast.
#[test]
fn bf16_lists_are_mixed_ones_without_guards() {
    for (arch, levels, fuse) in networks() {
        let tape = training(arch, levels);
        let list = rewrite(&tape, PlanOptions { fuse, precision: Precision::Bf16 });
        assert_sound(&list);
        let is_weight = |list: &Tape, v: ValueId| matches!(list.values()[v.index()].residence, Residence::Persistent(_));
        let casts_weight = |list: &Tape, n: &Node| n.instruction.name() == "cast" && is_weight(list, n.inputs[0]);
        let names = |list: &Tape| -> Vec<_> {
            list.nodes().iter().filter(|n| !casts_weight(list, n)).map(|n| n.instruction.name()).collect()
        };
        assert!(!list.nodes().iter().any(|n| casts_weight(&list, n)));
        let mut mixed = names(&rewrite(&tape, mixed(fuse)));
        mixed.retain(|name| *name != "check_finite");
        // Updates that nothing guards stand elsewhere.
        let [mut found, mut expected] = [names(&list), mixed];
        [&mut found, &mut expected].into_iter().for_each(|names| names.sort_unstable());
        assert_eq!(found, expected);
        assert!(list.values().iter().all(|v| v.dtype != DType::F16 && v.residence != Residence::Persistent(OVERFLOW.into())));
        assert!(list.values().iter().any(|v| v.dtype == DType::Bf16));
    }
}

/// Where activations outweigh parameters, as in any real training.
#[test]
fn a_mixed_step_needs_little_more_than_half_of_the_memory() {
    let loss = crate::ops::dice_bce::LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    for (arch, levels) in NETWORKS {
        let tape = spec(arch, levels).record_training(4, [128, 128], loss, crate::model::Target::Given).unwrap();
        for fuse in [false, true] {
            let [full, half] = [Precision::F32, Precision::Mixed].map(|precision| {
                let list = rewrite(&tape, PlanOptions { fuse, precision });
                let layout = PersistentLayout::new(&[&list]);
                Plan::place(&list, &layout, &|_| Scratch::default()).unwrap().transient_bytes()
            });
            assert!(half * 100 < full * 65, "{arch:?}, fused {fuse}: {half} of {full} bytes");
        }
    }
}

/// A plan in whose run nobody made room for the flag is refused.
#[test]
fn the_flag_must_have_a_place() {
    let tape = training(Arch::Standard, 1);
    let error = Plan::new(&tape, &PersistentLayout::new(&[&tape]), mixed(true), &|_| Scratch::default()).unwrap_err();
    assert!(error.to_string().contains(OVERFLOW), "{error}");
}

/// What the host reads is f32, whoever writes it; a value read in both types is cast once.
#[test]
fn outputs_of_convolutions_are_cast_for_the_host() {
    use crate::ops::{conv2d::Conv2d, relu::Relu};
    let mut tape = Tape::new();
    let x = tape.input("x", Shape::image(1, 4, 4, 2), DType::F32);
    let w = tape.persistent("w", Shape([3, 3, 2, 2]));
    let y = tape.record_one(Instruction::Conv2d(Conv2d { two_inputs: false, bias: false }), &[w, x]).unwrap();
    let z = tape.record_one(Instruction::Relu(Relu {}), &[y]).unwrap();
    // Beside the convolutions nothing becomes f16.
    let apart = tape.record_one(Instruction::Relu(Relu {}), &[x]).unwrap();
    [("y", y), ("z", z), ("again", z), ("apart", apart)].into_iter().for_each(|(name, v)| tape.output(name, v));
    let list = rewrite(&tape, mixed(true));
    assert_sound(&list);
    let names: Vec<_> = list.nodes().iter().map(|n| n.instruction.name()).collect();
    assert_eq!(names, ["cast", "cast", "conv2d", "relu", "relu", "cast", "cast"]);
    assert_eq!(list.dtype(apart), DType::F32);
    assert!(list.outputs().iter().all(|(_, v)| list.dtype(*v) == DType::F32));
    assert_eq!(list.outputs()[1].1, list.outputs()[2].1);
}
