//! Plans: the places that they give, and the rewrites that they make, change nothing about the result.

use super::interpreter::run;
use super::networks::{self, LOSS, data, distance, spec, training_with_gradients};
use super::reference_backend::ReferenceBackend;
use crate::reference::Array;
use proptest::prelude::*;
use std::collections::BTreeMap;
use unet_engine::backend::{Backend, Session, cpu};
use unet_engine::model::{Arch, Target};
use unet_engine::ops::assign::Assignment;
use unet_engine::plan::PlanOptions;
use unet_engine::tape::Tape;

fn any_arch() -> impl Strategy<Value = Arch> {
    prop_oneof![Just(Arch::Standard), Just(Arch::Deep), Just(Arch::Residual)]
}

fn any_target() -> impl Strategy<Value = Target> {
    let assigned = [Assignment::LeastCost, Assignment::Spatial].map(Target::Assigned);
    prop_oneof![Just(Target::Given), Just(assigned[0]), Just(assigned[1])]
}

fn session(backend: Box<dyn Backend>, tapes: &[&Tape], data: &BTreeMap<String, Array>, fuse: bool) -> Session {
    let mut session = Session::new(backend, tapes, PlanOptions { fuse, ..PlanOptions::default() }).expect("a session");
    networks::write_all(&mut session, data);
    session
}

/// All outputs and persistent values of plan 0.
fn results(session: &Session, tape: &Tape) -> BTreeMap<String, Array> {
    let outputs = tape.outputs().iter().map(|(name, _)| name.clone());
    let persistent = session.layout().iter().map(|(name, _)| name.to_string());
    outputs.chain(persistent).map(|name| (name.clone(), networks::read(session, &name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// The reference run over a plan's places gives what it gives over the tape: no value is overwritten while it is needed. Twice, so
    /// that inputs must survive.
    #[test]
    fn placed_and_fused_is_as_recorded(arch in any_arch(), base in 1..4usize, levels in 1..4usize, batch in 2..4usize, target in any_target(), fuse: bool) {
        let spec = spec(arch, base, levels);
        let tape = training_with_gradients(&spec, batch, [8, 8], LOSS, target);
        let mut data = data(&spec, &tape, 5);
        let mut session = session(Box::<ReferenceBackend>::default(), &[&tape], &data, fuse);
        for _ in 0..2 {
            let expected = run(&tape, &data);
            session.run(0).unwrap();
            for (name, found) in results(&session, &tape) {
                let distance = distance(&found, expected.named(&name));
                prop_assert!(distance < 1e-6, "{name} is {distance:e} away");
                if let Some(value) = data.get_mut(&name) {
                    // The next step starts from what this one left, in f64.
                    *value = expected.named(&name).clone();
                }
            }
        }
    }
}

/// Fused = unfused on the CPU backend, over three steps; on a tape that starts from the same parameters.
#[test]
fn fused_is_unfused_on_the_cpu() {
    for arch in [Arch::Standard, Arch::Deep, Arch::Residual] {
        let spec = spec(arch, 4, 2);
        let tape = training_with_gradients(&spec, 2, [16, 8], LOSS, Target::Assigned(Assignment::LeastCost));
        let data = data(&spec, &tape, 8);
        let [unfused, fused] = [false, true].map(|fuse| {
            let mut session = session(cpu::open(2).unwrap(), &[&tape], &data, fuse);
            (0..3).for_each(|_| session.run(0).unwrap());
            results(&session, &tape)
        });
        for (name, expected) in &unfused {
            let distance = distance(&fused[name], expected);
            // Adam divides by the gradient's own size, so that a gradient of rounding errors moves by its sign.
            let allowed = if name.starts_with("grad") || name.ends_with(".m") || name.ends_with(".v") { 2e-3 } else { 1e-4 };
            assert!(distance < allowed, "{arch:?}: {name} is {distance:e} away");
        }
    }
}

/// Training, validation and inference share one arena and the parameters: a validation in between does not disturb training.
#[test]
fn plans_of_one_run_share_their_memory() {
    let spec = spec(Arch::Residual, 3, 2);
    let training = training_with_gradients(&spec, 2, [8, 8], LOSS, Target::Given);
    let inference = spec.record_inference(3, [16, 8]).unwrap();
    let data = data(&spec, &training, 2);
    let image: Vec<f32> = (0..3 * 16 * 8 * 2).map(|i| (i as f32 * 0.7).sin()).collect();
    let run = |with_inference: bool| {
        let mut session = session(cpu::open(1).unwrap(), &[&training, &inference], &data, true);
        for _ in 0..2 {
            let inputs = only_inputs(&data, &session);
            networks::write_all(&mut session, &inputs);
            session.run(0).unwrap();
            if with_inference {
                session.write_input(1, "image", &image).unwrap();
                session.run(1).unwrap();
                let mut probability = vec![0.0; 3 * 16 * 8 * 2];
                session.read_output(1, "probability", &mut probability).unwrap();
                assert!(probability.iter().all(|p| (0.0..=1.0).contains(p)));
            }
        }
        let transient = session.plans().iter().map(|p| p.transient_bytes()).max().unwrap();
        assert_eq!(session.receipt(0).transient_bytes, transient);
        session.layout().iter().map(|(name, _)| session.read_persistent(name).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(false), run(true));
}

fn only_inputs(data: &BTreeMap<String, Array>, session: &Session) -> BTreeMap<String, Array> {
    data.iter().filter(|(name, _)| session.layout().get(name).is_none()).map(|(n, a)| (n.clone(), a.clone())).collect()
}

/// With running statistics a batch's images do not see one another: each gives what it gives alone.
#[test]
fn inference_takes_images_one_by_one() {
    let spec = spec(Arch::Standard, 3, 2);
    let [one, three] = [1, 3].map(|batch| spec.record_inference(batch, [8, 12]).unwrap());
    let mut data = data(&spec, &three, 4);
    let together = run(&three, &data);
    let images = data["image"].clone();
    for n in 0..3 {
        let image = Array::from_fn([1, 8, 12, 2], |[_, y, x, c]| images.at([n, y, x, c]));
        data.insert("image".into(), image);
        let mut session = session(cpu::open(2).unwrap(), &[&one], &data, true);
        session.run(0).unwrap();
        let expected = Array::from_fn([1, 8, 12, 2], |[_, y, x, c]| together.named("probability").at([n, y, x, c]));
        assert!(distance(&networks::read(&session, "probability"), &expected) < 1e-5);
    }
}
