//! Mixed precision: the rewritten lists compute what the f32 lists do but for the roundings of f16, in the f64 reference, which rounds
//! to f16 what is stored so; and a gradient that overflows changes nothing.

use super::interpreter::{Run, run, run_unrounded};
use super::networks::{self, LOSS, data, distance, spec, training_with_gradients};
use super::reference_backend::ReferenceBackend;
use crate::reference::Array;
use std::collections::BTreeMap;
use unet_engine::augment::Batch;
use unet_engine::backend::{Session, cpu};
use unet_engine::error::ErrorKind;
use unet_engine::model::{Arch, NetworkSpec, Target};
use unet_engine::ops::assign::Assignment;
use unet_engine::plan::{OVERFLOW, PlanOptions, Precision, rewrite};
use unet_engine::tape::Tape;
use unet_engine::train::{Engine, EngineOptions, Totals};

const NETWORKS: [(Arch, usize, usize, [usize; 2], Target); 3] = [
    (Arch::Standard, 4, 2, [16, 12], Target::Given),
    (Arch::Deep, 4, 3, [16, 24], Target::Assigned(Assignment::Spatial)),
    (Arch::Residual, 4, 2, [12, 16], Target::Given),
];

fn mixed(fuse: bool) -> PlanOptions {
    PlanOptions { fuse, precision: Precision::Mixed }
}

/// A network's training step and data for it, with a loss scale.
fn step(index: usize, loss_scale: f64) -> (NetworkSpec, Tape, BTreeMap<String, Array>) {
    let (arch, base, levels, size, target) = NETWORKS[index];
    let spec = spec(arch, base, levels);
    let tape = training_with_gradients(&spec, 4, size, LOSS, target);
    let mut data = data(&spec, &rewrite(&tape, mixed(true)), 3);
    data.get_mut("loss_scale").expect("it is recorded").data[0] = loss_scale;
    data.get_mut("schedule").expect("it is recorded").data[3] = 1.0 / loss_scale;
    // Moments that are not zero, so that a step that must not touch them is seen to.
    for (name, array) in data.iter_mut().filter(|(name, _)| name.ends_with(".m") || name.ends_with(".v")) {
        *array = array.map(|_| if name.ends_with(".m") { 0.25 } else { 0.5 });
    }
    (spec, tape, data)
}

fn gradients(spec: &NetworkSpec) -> Vec<String> {
    spec.parameters().into_iter().filter(|p| p.kind.is_trained()).map(|p| format!("grad {}", p.name)).collect()
}

/// Parameters, moments and running statistics.
fn updated(spec: &NetworkSpec) -> Vec<String> {
    let names = |p: unet_engine::model::Parameter| match p.kind.is_trained() {
        true => vec![p.name.clone(), format!("{}.m", p.name), format!("{}.v", p.name)],
        false => vec![p.name],
    };
    spec.parameters().into_iter().flat_map(names).collect()
}

/// With nothing rounded the rewritten list is the recorded one: every operand is the right one, in the right order.
#[test]
fn but_for_rounding_it_is_the_same_list() {
    for index in 0..NETWORKS.len() {
        let (spec, tape, data) = step(index, 1024.0);
        let expected = run(&tape, &data);
        for fuse in [false, true] {
            let found = run_unrounded(&rewrite(&tape, mixed(fuse)), &data);
            for name in ["loss", "sums", "logits"].map(String::from).into_iter().chain(gradients(&spec)).chain(updated(&spec)) {
                let distance = distance(found.named(&name), expected.named(&name));
                assert!(distance < 1e-9, "{:?}, fused {fuse}: {name} is {distance:e} away", spec.arch);
            }
        }
    }
}

/// All gradients as one vector.
fn joined(spec: &NetworkSpec, run: &Run) -> Array {
    Array::vector(gradients(spec).iter().flat_map(|name| run.named(name).data.iter().copied()).collect())
}

/// Eleven bits round by 2^-12 of a number, and that moves as large a share of the activations over ReLU's and max's ties; a gradient that
/// is masked wrongly at a share s of its elements is off by the square root of s of its norm: some 2 percent a layer, and more where few
/// numbers are normalised together. That it is off at all shows that anything was rounded.
#[test]
fn gradients_follow_f32_within_the_roundings_of_f16() {
    for index in 0..NETWORKS.len() {
        let (spec, tape, data) = step(index, 1024.0);
        let full = run(&rewrite(&tape, PlanOptions::default()), &data);
        for fuse in [false, true] {
            let half = run(&rewrite(&tape, mixed(fuse)), &data);
            let case = format!("{:?}, fused {fuse}", spec.arch);
            assert_eq!(half.named(OVERFLOW).data, [0.0], "{case}");
            let loss = distance(half.named("loss"), full.named("loss"));
            assert!(loss < 2e-3, "{case}: the loss is {loss:e} away");
            let all = distance(&joined(&spec, &half), &joined(&spec, &full));
            println!("{case}: the gradient is {all:e} away");
            assert!((1e-5..0.1).contains(&all), "{case}: the gradient is {all:e} away");
            for name in gradients(&spec) {
                let distance = distance(half.named(&name), full.named(&name));
                assert!((1e-5..0.5).contains(&distance), "{case}: {name} is {distance:e} away");
            }
            let moved = |run: &Run, name: &str| run.named(name) != &data[name];
            assert!(updated(&spec).iter().all(|name| moved(&half, name) && moved(&full, name)), "{case}: not all was updated");
        }
    }
}

/// A loss scale that f16 cannot hold: gradients become infinite, then NaN, and nothing of them is left behind.
#[test]
fn a_gradient_that_overflows_changes_nothing() {
    for index in 0..NETWORKS.len() {
        let (spec, tape, data) = step(index, 1e30);
        for fuse in [false, true] {
            let half = run(&rewrite(&tape, mixed(fuse)), &data);
            let case = format!("{:?}, fused {fuse}", spec.arch);
            assert_eq!(half.named(OVERFLOW).data, [1.0], "{case}");
            let is_broken = |name: &String| half.named(name).data.iter().any(|x| !x.is_finite());
            assert!(gradients(&spec).iter().any(is_broken), "{case}: the gradients are finite after all");
            assert!(half.named("loss").data[0].is_finite(), "{case}");
            for name in updated(&spec) {
                assert_eq!(half.named(&name), &data[&name], "{case}: {name}");
            }
        }
    }
}

/// Values of two sizes in one arena: the plan's places change nothing, and the persistent values that it adds have theirs.
#[test]
fn placed_is_as_rewritten() {
    for index in 0..NETWORKS.len() {
        for (fuse, loss_scale) in [(false, 1024.0), (true, 1024.0), (true, 1e30)] {
            let (spec, tape, data) = step(index, loss_scale);
            let expected = run(&rewrite(&tape, mixed(fuse)), &data);
            let mut session = Session::new(Box::<ReferenceBackend>::default(), &[&tape], mixed(fuse)).expect("a session");
            networks::write_all(&mut session, &data);
            session.run(0).expect("a step");
            let names = updated(&spec).into_iter().chain(gradients(&spec)).chain(["loss".to_string(), OVERFLOW.to_string()]);
            for name in names {
                let found = networks::read(&session, &name);
                // The host reads f32; a NaN is no number on both sides.
                let same = |a: f64, b: f64| a == f64::from(b as f32) || (a.is_nan() && b.is_nan());
                let agrees = found.data.iter().zip(&expected.named(&name).data).all(|(&a, &b)| same(a, b));
                assert!(agrees, "{:?}, fused {fuse}, loss scale {loss_scale}: {name}", spec.arch);
            }
        }
    }
}

/// Nothing is allocated for what cannot be run.
#[test]
fn the_cpu_refuses_to_plan_it() {
    let (_, tape, _) = step(0, 1.0);
    let error = Session::plan(cpu::open(1).expect("a CPU backend"), &[&tape], mixed(true)).err().expect("it is refused");
    assert!(error.kind() == ErrorKind::Device && error.to_string().contains("mixed precision needs a CUDA device"), "{error}");
}

/// The training's own device side: what it writes before a mixed step and reads behind it.
#[test]
fn the_engine_skips_a_step_that_overflows() {
    let spec = NetworkSpec { arch: Arch::Standard, base: 4, levels: 1, channels_in: 1, channels_out: 1 };
    let engine = |precision| {
        let backend = Box::<ReferenceBackend>::default();
        let (loss, assignment) = (LOSS, Assignment::LeastCost);
        let options = EngineOptions { network: spec, batch: 2, size: [16, 16], loss, assignment, precision, pictures: None };
        let mut engine = Engine::plan(backend, &options).expect("a plan");
        engine.allocate().expect("memory");
        for (i, parameter) in spec.parameters().iter().enumerate() {
            engine.write(&parameter.name, &unet_engine::model::initialise(parameter, i, 1)).expect("a parameter");
        }
        engine
    };
    let numbers = |f: fn(usize) -> f32| (0..2 * 16 * 16).map(f).collect::<Vec<f32>>();
    let batch = Batch {
        image: numbers(|i| (i as f32 * 0.7).sin()),
        target: numbers(|i| f32::from(i % 3 == 0)),
        weight: numbers(|_| 1.0),
        samples: vec![0, 1],
    };
    let schedule = [1e-3, 10.0, 1000.0, 1.0];
    let parameters = |engine: &Engine| {
        let names = updated(&spec).into_iter();
        names.map(|name| engine.session().read_persistent(&name).expect("it is kept")).collect::<Vec<_>>()
    };
    let (mut full, mut half) = (engine(Precision::F32), engine(Precision::Mixed));
    let mut totals = Totals::new(1);
    let before = parameters(&half);
    let skipped = half.step(&batch, schedule, 1e30, &mut totals).expect("a step");
    assert!(skipped.overflowed && skipped.loss.is_finite());
    assert_eq!((parameters(&half), totals), (before.clone(), Totals::new(1)), "a skipped step leaves nothing");
    let mut totals = [Totals::new(1), Totals::new(1)];
    let taken = half.step(&batch, schedule, 1024.0, &mut totals[0]).expect("a step");
    let expected = full.step(&batch, schedule, 1.0, &mut totals[1]).expect("a step");
    assert!(!taken.overflowed && !expected.overflowed && (taken.loss - expected.loss).abs() < 2e-3 * expected.loss);
    assert!(totals.iter().all(|totals| *totals != Totals::new(1)));
    // Adam's first step moves by the rate whatever the gradient's size: that it is unscaled shows in the moments.
    for ((name, half), full) in updated(&spec).iter().zip(parameters(&half)).zip(parameters(&full)) {
        let array = |data: Vec<f32>| Array::vector(data.into_iter().map(f64::from).collect());
        let distance = distance(&array(half), &array(full));
        assert!(distance < 0.2, "{name} is {distance:e} away");
    }
}
