//! A small network's whole gradient: what the tape's backward pass gives, against finite differences of its forward pass, and the
//! CPU backend against the f64 reference.

use super::interpreter::{Run, run};
use super::networks::{self, LOSS, data, distance, spec, training_with_gradients};
#[cfg(feature = "cuda")]
use crate::ops::emulator;
use crate::reference::Array;
use std::collections::BTreeMap;
use unet_engine::backend::{Backend, Session, cpu};
use unet_engine::model::{Arch, NetworkSpec, Target};
use unet_engine::ops::assign::Assignment;
use unet_engine::plan::PlanOptions;
use unet_engine::random::{Philox, Purpose};
use unet_engine::tape::{Residence, Tape, ValueId};

/// Two channels and up to two instances, given or assigned in the plan.
const TARGETS: [Target; 3] = [Target::Given, Target::Assigned(Assignment::LeastCost), Target::Assigned(Assignment::Spatial)];

const NETWORKS: [(Arch, usize, usize, [usize; 2]); 4] =
    [(Arch::Standard, 2, 1, [4, 6]), (Arch::Standard, 3, 2, [8, 4]), (Arch::Deep, 2, 2, [4, 8]), (Arch::Residual, 2, 2, [8, 4])];

/// The step of the differences, and how far activations keep from the ties of ReLU and max: ten steps and more.
const H: f64 = 1e-7;
const TIE_DISTANCE: f64 = 1e-5;

/// A seed whose activations keep away from all ties.
fn run_away_from_ties(spec: &NetworkSpec, tape: &Tape) -> (BTreeMap<String, Array>, Run) {
    let candidates = (0..50).map(|seed| {
        let data = data(spec, tape, seed);
        let run = run(tape, &data);
        (data, run)
    });
    let found = candidates.into_iter().find(|(_, run)| run.tie_distance > TIE_DISTANCE);
    found.expect("one seed in fifty keeps away from ties")
}

fn trained(spec: &NetworkSpec) -> Vec<String> {
    spec.parameters().into_iter().filter(|p| p.kind.is_trained()).map(|p| p.name).collect()
}

/// The derivative of the loss along `direction`, a step of the parameter `name`.
fn difference(forward: &Tape, data: &BTreeMap<String, Array>, name: &str, direction: &Array) -> f64 {
    let loss = |h: f64| {
        let mut moved = data.clone();
        moved.insert(name.to_string(), data[name].zip(direction, |x, d| x + h * d));
        run(forward, &moved).named("loss").data[0]
    };
    (loss(H) - loss(-H)) / (2.0 * H)
}

/// Each element of a small tensor by itself; a large one along random directions, which no wrong element escapes.
fn directions(shape: [usize; 4]) -> Vec<Array> {
    let n: usize = shape.iter().product();
    let unit = |i: usize| Array::new(shape, (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect());
    if n <= 8 {
        return (0..n).map(unit).collect();
    }
    let random = |i: u32| {
        let mut random = Philox::new(1, i, n as u32, Purpose::Bench);
        Array::from_fn(shape, |_| f64::from(random.range(-1.0, 1.0)))
    };
    (0..4).map(random).collect()
}

/// The training tape up to the loss.
fn forward_only(tape: &Tape) -> Tape {
    let mut forward = Tape::new();
    let mut known = BTreeMap::new();
    let losses = tape.nodes().iter().position(|n| n.instruction.name() == "dice_bce").expect("a loss");
    for node in &tape.nodes()[..=losses] {
        let mut translate = |v: &ValueId| {
            *known.entry(*v).or_insert_with(|| {
                let value = &tape.values()[v.index()];
                match &value.residence {
                    Residence::Input(name) => forward.input(name, value.shape, value.dtype),
                    Residence::Persistent(name) => forward.persistent(name, value.shape),
                    Residence::Transient => unreachable!("written before it is read"),
                }
            })
        };
        let inputs: Vec<_> = node.inputs.iter().map(&mut translate).collect();
        if node.instruction.name() == "batch_norm_update" {
            continue;
        }
        let outputs = forward.record(node.instruction.clone(), &inputs).expect("as on the tape");
        known.extend(node.outputs.iter().copied().zip(outputs));
    }
    forward.output("loss", known[&tape.nodes()[losses].outputs[0]]);
    forward
}

#[test]
fn the_whole_gradient_is_finite_differences() {
    for ((arch, base, levels, size), target) in NETWORKS.into_iter().zip(TARGETS.into_iter().cycle()) {
        let spec = spec(arch, base, levels);
        let tape = training_with_gradients(&spec, 2, size, LOSS, target);
        let (data, reference) = run_away_from_ties(&spec, &tape);
        let forward = forward_only(&tape);
        for name in trained(&spec) {
            let gradient = reference.named(&format!("grad {name}"));
            let scale = gradient.data.iter().fold(1e-4, |most: f64, x| most.max(x.abs()));
            for direction in directions(gradient.shape) {
                let expected = difference(&forward, &data, &name, &direction);
                let error = (gradient.dot(&direction) - expected).abs();
                assert!(
                    error <= 1e-4 * scale,
                    "{arch:?} base {base}, {target:?}: {name} differs by {error:e} at a scale of {scale:e}"
                );
            }
        }
    }
}

fn gradients_of(backend: Box<dyn Backend>, tape: &Tape, data: &BTreeMap<String, Array>, fuse: bool) -> Session {
    let mut session = Session::new(backend, &[tape], PlanOptions { fuse, ..PlanOptions::default() }).expect("a session");
    networks::write_all(&mut session, data);
    session.run(0).expect("a step");
    session
}

/// f32 against f64 over a whole step: loss, running statistics, gradients, and what Adam makes of them.
#[test]
fn the_cpu_backend_follows_the_reference() {
    let networks = NETWORKS.into_iter().chain([(Arch::Residual, 5, 3, [16, 24]), (Arch::Deep, 8, 3, [24, 16])]);
    for ((arch, base, levels, size), target) in networks.zip(TARGETS.into_iter().cycle()) {
        let spec = spec(arch, base, levels);
        let tape = training_with_gradients(&spec, 3, size, LOSS, target);
        let (data, reference) = run_away_from_ties(&spec, &tape);
        for fuse in [false, true] {
            let session = gradients_of(cpu::open(2).expect("a CPU backend"), &tape, &data, fuse);
            for name in compared(&spec) {
                let distance = distance(&networks::read(&session, &name), reference.named(&name));
                assert!(distance < 2e-4, "{arch:?} base {base}, fused {fuse}: {name} is {distance:e} away");
            }
        }
    }
}

/// The same on the emulated GPU: every kernel in its place in a step.
#[cfg(feature = "cuda")]
#[test]
fn the_cuda_backend_follows_the_reference() {
    let networks = [(Arch::Standard, 3, 2, [12, 20]), (Arch::Residual, 8, 2, [16, 8])];
    for ((arch, base, levels, size), (target, architecture)) in networks.into_iter().zip(TARGETS.into_iter().zip([80, 70])) {
        let spec = spec(arch, base, levels);
        let tape = training_with_gradients(&spec, 2, size, LOSS, target);
        let (data, reference) = run_away_from_ties(&spec, &tape);
        for fuse in [false, true] {
            let Some(backend) = emulator::open(architecture, 1) else { return };
            let session = gradients_of(Box::new(backend), &tape, &data, fuse);
            for name in compared(&spec) {
                let distance = distance(&networks::read(&session, &name), reference.named(&name));
                assert!(distance < 2e-4, "{arch:?} base {base}, fused {fuse}: {name} is {distance:e} away");
            }
        }
    }
}

fn compared(spec: &NetworkSpec) -> Vec<String> {
    let parameters = spec.parameters();
    let running = parameters.iter().filter(|p| !p.kind.is_trained()).map(|p| p.name.clone());
    let trained = trained(spec).into_iter().flat_map(|name| [format!("grad {name}"), format!("{name}.m"), format!("{name}.v")]);
    ["loss".to_string(), "sums".to_string()].into_iter().chain(running).chain(trained).collect()
}

/// The check is checked: a whole gradient that is zero, scaled, or another tensor's must be noticed.
#[test]
fn wrong_gradients_are_noticed() {
    let spec = spec(Arch::Standard, 2, 1);
    let tape = training_with_gradients(&spec, 2, [4, 6], LOSS, Target::Given);
    let (_, reference) = run_away_from_ties(&spec, &tape);
    for name in trained(&spec) {
        let right = reference.named(&format!("grad {name}"));
        assert!(distance(right, right) < 2e-4);
        assert!(distance(&right.map(|_| 0.0), right) > 2e-4, "{name} zero");
        assert!(distance(&right.map(|x| 3.0 * x), right) > 2e-4, "{name} scaled");
        assert!(distance(&right.map(|_| f64::NAN), right) > 2e-4, "{name} not a number");
        if right.data.len() > 1 {
            let reversed = Array::new(right.shape, right.data.iter().rev().copied().collect());
            assert!(distance(&reversed, right) > 2e-4, "{name} reversed");
        }
    }
}
