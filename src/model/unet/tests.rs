use super::*;
use crate::tape::Residence;
use std::collections::BTreeSet;

const LOSS: LossParameters = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };

fn spec(arch: Arch, base: usize, levels: usize) -> NetworkSpec {
    NetworkSpec { arch, base, levels, channels_in: 1, channels_out: 1 }
}

fn n_parameters(spec: &NetworkSpec) -> usize {
    spec.parameters().iter().filter(|p| p.kind.is_trained()).map(|p| p.shape.len()).sum()
}

/// Numbers printed by `sum(p.numel() for p in variant(name, base).parameters())` of the reference network in PyTorch.
#[test]
fn as_many_parameters_as_the_reference_network() {
    assert_eq!(n_parameters(&spec(Arch::Standard, 64, 4)), 31_036_481);
    assert_eq!(n_parameters(&spec(Arch::Standard, 32, 4)), 7_762_465);
    assert_eq!(n_parameters(&spec(Arch::Deep, 32, 5)), 31_099_937);
    assert_eq!(n_parameters(&spec(Arch::Residual, 32, 4)), 8_113_601);
}

#[test]
fn names_are_those_of_the_state_dict() {
    let names: Vec<String> = spec(Arch::Residual, 4, 1).parameters().into_iter().map(|p| p.name).collect();
    let norm = |p: &str| ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{p}.{part}"));
    let mut expected = Vec::new();
    let block = |expected: &mut Vec<String>, p: &str| {
        for (conv, bn) in [("c1", "b1"), ("c2", "b2"), ("proj.0", "proj.1")] {
            expected.push(format!("{p}.{conv}.weight"));
            expected.extend(norm(&format!("{p}.{bn}")));
        }
    };
    block(&mut expected, "down.0");
    block(&mut expected, "mid");
    expected.extend(["up.0.weight".to_string(), "up.0.bias".to_string()]);
    block(&mut expected, "dec.0");
    expected.extend(["head.weight".to_string(), "head.bias".to_string()]);
    assert_eq!(names, expected);
}

#[test]
fn training_touches_every_parameter_and_inference_no_other() {
    for (arch, levels) in [(Arch::Standard, 4), (Arch::Deep, 5), (Arch::Residual, 4), (Arch::Residual, 1)] {
        let spec = NetworkSpec { channels_in: 3, channels_out: 5, ..spec(arch, 2, levels) };
        let parameters = spec.parameters();
        let mut expected: BTreeSet<String> = parameters.iter().map(|p| p.name.clone()).collect();
        let inference = spec.record_inference(1, [32, 64]).unwrap();
        assert_eq!(persistent_names(&inference), expected);
        for p in parameters.iter().filter(|p| p.kind.is_trained()) {
            expected.extend([format!("{}.m", p.name), format!("{}.v", p.name)]);
        }
        expected.extend(["schedule".to_string(), "loss_scale".to_string()]);
        let training = spec.record_training(2, [32, 64], LOSS, Target::Given).unwrap();
        assert_eq!(persistent_names(&training), expected);
        let updates = training.nodes().iter().filter(|n| matches!(n.instruction, Instruction::Adam(_))).count();
        assert_eq!(updates, parameters.iter().filter(|p| p.kind.is_trained()).count());
    }
}

fn persistent_names(tape: &Tape) -> BTreeSet<String> {
    let name = |v: &crate::tape::Value| match &v.residence {
        Residence::Persistent(name) => Some(name.clone()),
        _ => None,
    };
    tape.values().iter().filter_map(name).collect()
}

#[test]
fn outputs_have_the_documented_shapes() {
    let spec = NetworkSpec { channels_in: 3, channels_out: 5, ..spec(Arch::Deep, 2, 2) };
    let tape = spec.record_validation(3, [8, 12], LOSS, Target::Given).unwrap();
    let shapes: Vec<_> = tape.outputs().iter().map(|(name, v)| (name.as_str(), tape.shape(*v))).collect();
    let sums = Shape([3, 1, 5, crate::ops::dice_bce::N_SUMS]);
    assert_eq!(shapes, [("loss", Shape::scalar()), ("sums", sums), ("probability", Shape::image(3, 8, 12, 5))]);
}

#[test]
fn sizes_that_do_not_fit_are_errors_with_a_remedy() {
    let standard = spec(Arch::Standard, 4, 4);
    let message = |result: Result<Tape>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let found = message(standard.record_inference(1, [96, 100]));
    assert!(found.contains("100x96") && found.contains("96 or 112"), "{found}");
    assert!(message(standard.record_inference(1, [8, 16])).contains("use 16 in place of 8"));
    assert!(message(standard.record_inference(0, [16, 16])).contains("batch 0"));
    assert!(message(standard.record_training(1, [16, 16], LOSS, Target::Given)).contains("one value per channel"));
    assert!(standard.record_training(2, [16, 16], LOSS, Target::Given).is_ok());
    assert!(standard.record_inference(1, [16, 16]).is_ok(), "running statistics need no second value");
    assert!(message(spec(Arch::Deep, 0, 4).record_inference(1, [16, 16])).contains("base channels: 0"));
    assert!(message(spec(Arch::Deep, 4, 0).record_inference(1, [16, 16])).contains("levels: 0"));
    assert!(message(spec(Arch::Deep, 4, 64).record_inference(1, [16, 16])).contains("levels: 64"));
}
