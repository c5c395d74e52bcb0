use super::*;
use crate::ops::batch_norm::BatchNormApply;
use crate::ops::concat::Concat;
use crate::ops::conv2d::Conv2d;
use crate::ops::max_pool2d::MaxPool2d;
use crate::ops::relu::Relu;
use crate::tape::{DType, Shape};

fn image(tape: &mut Tape, name: &str) -> ValueId {
    tape.input(name, Shape::image(1, 4, 4, 2), DType::F32)
}

fn relu(tape: &mut Tape, x: ValueId) -> ValueId {
    tape.record_one(Instruction::Relu(Relu {}), &[x]).unwrap()
}

fn names(tape: &Tape) -> Vec<&'static str> {
    tape.nodes().iter().map(|n| n.instruction.name()).collect()
}

#[test]
fn a_value_used_twice_sums_its_gradients() {
    let mut tape = Tape::new();
    let x = image(&mut tape, "x");
    let (a, b) = (relu(&mut tape, x), relu(&mut tape, x));
    let y = tape.record_one(Instruction::Add(Add {}), &[a, b]).unwrap();
    let dy = image(&mut tape, "dy");
    let gradients = tape.backward(y, dy, &[x]).unwrap();
    assert_eq!(names(&tape), ["relu", "relu", "add", "relu_grad", "relu_grad", "add"]);
    let nodes = &tape.nodes()[3..];
    // In the order of the backward pass: the later use first.
    assert_eq!((&nodes[0].inputs, &nodes[1].inputs), (&vec![dy, b], &vec![dy, a]));
    assert_eq!(nodes[2].inputs, [nodes[0].outputs[0], nodes[1].outputs[0]]);
    assert_eq!(gradients[&x], nodes[2].outputs[0]);
}

#[test]
fn both_operands_being_one_value_sums_too() {
    let mut tape = Tape::new();
    let x = image(&mut tape, "x");
    let y = tape.record_one(Instruction::Add(Add {}), &[x, x]).unwrap();
    let dy = image(&mut tape, "dy");
    let gradients = tape.backward(y, dy, &[x]).unwrap();
    let sum = tape.nodes().last().unwrap();
    assert_eq!((sum.inputs.as_slice(), sum.outputs[0]), ([dy, dy].as_slice(), gradients[&x]));
}

#[test]
fn only_what_is_wanted_is_computed() {
    let mut tape = Tape::new();
    let x = image(&mut tape, "x");
    let w = tape.persistent("w", Shape([3, 3, 2, 2]));
    let b = tape.persistent("b", Shape::channels(2));
    let y = tape.record_one(Instruction::Conv2d(Conv2d { two_inputs: false, bias: true }), &[w, x, b]).unwrap();
    let dy = image(&mut tape, "dy");
    for (wanted, expected) in [(w, "conv2d_weight_grad"), (x, "conv2d_data_grad"), (b, "channel_sum")] {
        let mut tape = tape.clone();
        let gradients = tape.backward(y, dy, &[wanted]).unwrap();
        assert_eq!(names(&tape)[1..], [expected]);
        assert_eq!(gradients.keys().collect::<Vec<_>>(), [&wanted]);
    }
}

#[test]
fn a_wanted_value_beside_the_way_is_missing() {
    let mut tape = Tape::new();
    let (x, other) = (image(&mut tape, "x"), image(&mut tape, "other"));
    let y = relu(&mut tape, x);
    let beside = relu(&mut tape, other);
    let dy = image(&mut tape, "dy");
    let n_nodes = tape.nodes().len();
    let gradients = tape.backward(y, dy, &[other, beside]).unwrap();
    assert!(gradients.is_empty());
    assert_eq!(tape.nodes().len(), n_nodes, "nothing is recorded for it");
}

#[test]
fn an_unused_output_has_no_upstream_gradient() {
    let mut tape = Tape::new();
    let (x, other) = (image(&mut tape, "x"), image(&mut tape, "other"));
    let both = tape.record_one(Instruction::Concat(Concat {}), &[x, other]).unwrap();
    let pooled = tape.record(Instruction::MaxPool2d(MaxPool2d {}), &[both]).unwrap()[0];
    let dy = tape.input("dy", Shape::image(1, 2, 2, 4), DType::F32);
    let gradients = tape.backward(pooled, dy, &[other]).unwrap();
    assert_eq!(names(&tape)[2..], ["max_pool2d_grad", "split"]);
    assert_eq!(gradients[&other], tape.nodes().last().unwrap().outputs[1]);
}

#[test]
fn a_seed_of_another_shape_and_a_way_without_adjoint_are_errors() {
    let mut tape = Tape::new();
    let x = image(&mut tape, "x");
    let y = relu(&mut tape, x);
    let scalar = tape.input("scalar", Shape::scalar(), DType::F32);
    assert!(tape.backward(y, scalar, &[x]).unwrap_err().to_string().contains("upstream gradient has shape [1, 1, 1, 1]"));
    let vectors = ["mean", "var", "gamma", "beta"].map(|name| tape.persistent(name, Shape::channels(2)));
    let apply = Instruction::BatchNormApply(BatchNormApply { eps: 1e-5, residual: false, relu: false });
    let z = tape.record_one(apply, &[y, vectors[0], vectors[1], vectors[2], vectors[3]]).unwrap();
    let dz = image(&mut tape, "dz");
    assert!(tape.backward(z, dz, &[x]).unwrap_err().to_string().contains("fixed statistics"));
}

/// A target that is assigned by the network's own answer is a constant all the same.
#[test]
fn nothing_is_differentiated_through_constants() {
    use crate::ops::assign::{Assign, Assignment};
    let mut tape = Tape::new();
    let x = image(&mut tape, "x");
    let labels = tape.input("labels", Shape::image(1, 4, 4, 1), DType::F32);
    let assign = Instruction::Assign(Assign { assignment: Assignment::LeastCost });
    let t = tape.record_one(assign, &[x, labels, labels]).unwrap();
    let y = tape.record_one(Instruction::Add(Add {}), &[x, t]).unwrap();
    let dy = image(&mut tape, "dy");
    let gradients = tape.backward(y, dy, &[x]).unwrap();
    assert_eq!((names(&tape), gradients[&x]), (vec!["assign", "add"], dy));
}
