//! Small networks with data to run them on.

use crate::reference::Array;
use std::collections::BTreeMap;
use unet_engine::backend::Session;
use unet_engine::model::{Arch, NetworkSpec, Target, initialise};
use unet_engine::ops::Instruction;
use unet_engine::ops::dice_bce::LossParameters;
use unet_engine::random::{Philox, Purpose};
use unet_engine::tape::{Residence, Shape, Tape};

pub const LOSS: LossParameters = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 2.0, focal_gamma: 1.5 };

pub fn spec(arch: Arch, base: usize, levels: usize) -> NetworkSpec {
    NetworkSpec { arch, base, levels, channels_in: 2, channels_out: 2 }
}

/// The training tape with two kinds of further outputs: the logits, and every parameter's gradient, called `grad <parameter>`.
pub fn training_with_gradients(spec: &NetworkSpec, batch: usize, size: [usize; 2], loss: LossParameters, target: Target) -> Tape {
    let mut tape = spec.record_training(batch, size, loss, target).expect("shapes fit");
    let logits = tape.nodes().iter().find(|n| matches!(n.instruction, Instruction::DiceBce(_))).map(|n| n.inputs[0]);
    tape.output("logits", logits.expect("a loss of logits"));
    let gradients: Vec<_> = (tape.nodes().iter())
        .filter(|n| matches!(n.instruction, Instruction::Adam(_)))
        .map(|n| (name_of(&tape, n.outputs[0].index()), n.inputs[0]))
        .collect();
    gradients.into_iter().for_each(|(name, gradient)| tape.output(&format!("grad {name}"), gradient));
    tape
}

fn name_of(tape: &Tape, value: usize) -> String {
    match &tape.values()[value].residence {
        Residence::Input(name) | Residence::Persistent(name) => name.clone(),
        Residence::Transient => panic!("a transient value has no name"),
    }
}

/// Values for all inputs and persistent values of a tape, all of them f32 numbers: parameters as they are initialised, but no gamma
/// is 1 and no beta 0, so that nothing hides; random images and targets; a weight with padding.
pub fn data(spec: &NetworkSpec, tape: &Tape, seed: u64) -> BTreeMap<String, Array> {
    let mut data = BTreeMap::new();
    for (index, value) in tape.values().iter().enumerate() {
        if value.residence != Residence::Transient {
            let name = name_of(tape, index);
            let random = Philox::new(seed, 1, index as u32, Purpose::Bench);
            data.insert(name.clone(), random_value(&name, value.shape, random));
        }
    }
    for (index, parameter) in
        spec.parameters().iter().enumerate().filter(|(_, p)| p.name.ends_with("weight") && p.shape.pixels() > 1)
    {
        let values = initialise(parameter, index, seed).into_iter().map(f64::from).collect();
        data.insert(parameter.name.clone(), Array::new(parameter.shape.0, values));
    }
    data
}

fn random_value(name: &str, shape: Shape, mut random: Philox) -> Array {
    let last = name.rsplit('.').next().unwrap_or(name);
    let mut draw: Box<dyn FnMut() -> f32> = match last {
        "loss_scale" => Box::new(|| 1.0),
        "overflow" => Box::new(|| 0.0),
        "instances" => Box::new(move || random.range(0.0, 3.0).floor()),
        "target" => Box::new(move || f32::from(random.uniform() < 0.4)),
        // A weight mask is 0 on padding.
        "weight" if name == "weight" => Box::new(move || f32::from(random.uniform() < 0.9)),
        "running_var" => Box::new(move || random.range(0.5, 1.5)),
        "weight" => Box::new(move || random.range(0.5, 1.5)),
        "m" | "v" => Box::new(|| 0.0),
        _ => Box::new(move || random.range(-1.0, 1.0)),
    };
    let mut array = Array::from_fn(shape.0, |_| f64::from(draw()));
    if name == "schedule" {
        array.data = [1e-3f32, 10.0, 1000.0, 1.0].map(f64::from).to_vec();
    }
    array
}

/// Writes all inputs and persistent values that plan 0 of a session knows.
pub fn write_all(session: &mut Session, data: &BTreeMap<String, Array>) {
    for (name, array) in data {
        let values: Vec<f32> = array.data.iter().map(|&x| x as f32).collect();
        if session.layout().get(name).is_some() {
            session.write_persistent(name, &values).expect("it is as large as on the tape");
        } else {
            session.write_input(0, name, &values).expect("it is an input of the tape");
        }
    }
}

/// Reads an output of plan 0, or a persistent value.
pub fn read(session: &Session, name: &str) -> Array {
    match session.plans()[0].output(name) {
        Some(slot) => {
            let mut values = vec![0.0; slot.shape.len()];
            session.read_output(0, name, &mut values).expect("it is an output");
            Array::new(slot.shape.0, values.into_iter().map(f64::from).collect())
        }
        None => {
            let values = session.read_persistent(name).expect("it is a persistent value");
            let shape = session.layout().get(name).expect("it has been read").shape;
            Array::new(shape.0, values.into_iter().map(f64::from).collect())
        }
    }
}

/// |found - expected| / |expected|, both as Euclidean norms: the distance of two tensors on the scale of the tensor.
pub fn distance(found: &Array, expected: &Array) -> f64 {
    let norm = |a: &Array| a.dot(a).sqrt();
    let distance = norm(&found.zip(expected, |a, b| a - b)) / norm(expected).max(1e-12);
    if distance.is_nan() { f64::INFINITY } else { distance }
}
