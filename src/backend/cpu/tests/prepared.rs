//! What steps make of parameters lasts while these do, and no longer.

use super::super::arena::Arena;
use super::super::pool::Pool;
use super::super::prepared::PreparedPlan;
use super::super::{Convolutions, Cpu, Settings, execute, open_with};
use super::{Way, ways};
use crate::backend::{Backend, Session, cpu};
use crate::model::{Arch, NetworkSpec, Target, initialise};
use crate::ops::dice_bce::LossParameters;
use crate::plan::{PersistentLayout, Plan, PlanOptions, Region, Slot, normalise_convolutions, rewrite};
use crate::random::{Philox, Purpose};
use crate::tape::{DType, Shape, Tape};
use std::collections::BTreeMap;

/// Wide enough that on bf16 one thread shares out columns at the deepest level and bands elsewhere, as [`bf16_products`] asserts.
///
/// [`bf16_products`]: super::super::bf16_products
const SPEC: NetworkSpec = NetworkSpec { arch: Arch::Residual, base: 32, levels: 2, channels_in: 1, channels_out: 1 };
const SIZE: usize = 16;

type Parameters = BTreeMap<String, Vec<f32>>;

fn parameters(seed: u64) -> Parameters {
    SPEC.parameters().into_iter().enumerate().map(|(i, p)| (p.name.clone(), initialise(&p, i, seed))).collect()
}

fn image(batch: usize, stream: u32) -> Vec<f32> {
    let mut rng = Philox::new(3, 0, stream, Purpose::Bench);
    (0..batch * SIZE * SIZE).map(|_| rng.range(-1.0, 1.0)).collect()
}

/// A session that predicts from batches of one image (plan 0) and of two (plan 1).
fn session(way: Way, threads: usize, parameters: &Parameters) -> Session {
    let tapes = [1, 2].map(|batch| SPEC.record_inference(batch, [SIZE, SIZE]).unwrap());
    let backend = open_with(way.level, way.convolutions, threads).unwrap();
    let options = PlanOptions { fuse: true, precision: way.precision };
    let mut session = Session::new(backend, &[&tapes[0], &tapes[1]], options).unwrap();
    parameters.iter().for_each(|(name, values)| session.write_persistent(name, values).unwrap());
    session
}

/// The bits of what plan `plan` predicts from `image`, or from what it was given last.
fn predict(session: &mut Session, plan: usize, image: Option<&[f32]>) -> Vec<u32> {
    if let Some(image) = image {
        session.write_input(plan, "image", image).unwrap();
    }
    session.run(plan).unwrap();
    let mut probability = vec![0.0; (1 + plan) * SIZE * SIZE];
    session.read_output(plan, "probability", &mut probability).unwrap();
    probability.iter().map(|p| p.to_bits()).collect()
}

#[test]
fn predictions_follow_images_plans_and_parameters() {
    for way in ways() {
        let first = parameters(1);
        let expected =
            |parameters: &Parameters, plan, image: &[f32]| predict(&mut session(way, 2, parameters), plan, Some(image));
        let [one, other, two] = [image(1, 0), image(1, 1), image(2, 2)];
        let of_one = expected(&first, 0, &one);
        for threads in [2, 4] {
            let mut session = session(way, threads, &first);
            let found = [Some(&one[..]), None].map(|image| predict(&mut session, 0, image));
            assert!(found.iter().all(|found| *found == of_one), "{way:?}: {threads} threads, twice");
        }
        let mut session = session(way, 1, &first);
        assert_eq!(predict(&mut session, 0, Some(&one)), of_one, "{way:?}");
        assert_eq!(predict(&mut session, 0, None), of_one, "{way:?}: once more");
        assert_eq!(predict(&mut session, 0, Some(&other)), expected(&first, 0, &other), "{way:?}: another image");
        // The plans share their memory.
        assert_eq!(predict(&mut session, 1, Some(&two)), expected(&first, 1, &two), "{way:?}: another plan");
        assert_eq!(predict(&mut session, 0, Some(&one)), of_one, "{way:?}: the first plan again");
        session.write_input(1, "image", &two).unwrap();
        assert_eq!(predict(&mut session, 0, Some(&one)), of_one, "{way:?}: behind another plan's input");
        for name in
            ["down.0.c1.weight", "mid.c2.weight", "mid.b1.running_var", "mid.b1.bias", "up.0.weight", "up.0.bias", "head.weight"]
        {
            let mut changed = first.clone();
            changed.get_mut(name).unwrap().iter_mut().for_each(|x| *x = 1.5 * *x + 0.25);
            session.write_persistent(name, &changed[name]).unwrap();
            let found = predict(&mut session, 0, None);
            assert_ne!(found, of_one, "{way:?}: {name} is not used");
            assert_eq!(found, expected(&changed, 0, &one), "{way:?}: another {name}");
            session.write_persistent(name, &first[name]).unwrap();
        }
        assert_eq!(predict(&mut session, 0, None), of_one, "{way:?}: the first parameters again");
    }
}

/// Where everything prepared is 0, no pixel has an influence on a convolution that takes it as it is.
#[test]
fn what_is_ready_is_taken_as_it_is() {
    for way in ways() {
        let mut cpu = open(way);
        let (layout, plan) = planned(way, &cpu);
        cpu.allocate(layout.bytes(), plan.transient_bytes()).unwrap();
        for (name, values) in parameters(1) {
            cpu.write(layout.get(&name).unwrap(), bytemuck::cast_slice(&values)).unwrap();
        }
        cpu.write(plan.input("image").unwrap(), bytemuck::cast_slice(&image(1, 0))).unwrap();
        let mut results = |is_ready| {
            let (settings, arena) = (cpu.settings, &mut cpu.arena);
            let mut varied = Vec::new();
            for step in plan.steps() {
                cpu.pool.run(&mut || execute(settings, step, arena, is_ready));
                if step.prepared.is_some() {
                    varied.push(has_varied_pixels(arena.bytes(step.outputs[0]), step.outputs[0]));
                }
            }
            varied
        };
        // Two convolutions in each of five blocks, five projections, two transposed convolutions and the head.
        assert_eq!(results(true), [false; 18], "{way:?}: ready");
        assert_eq!(results(false), [true; 18], "{way:?}: not ready");
        assert_eq!(results(true), [true; 18], "{way:?}: made");
    }
}

/// Runs, profiled or not, take what is ready, and make it anew where the host has written on it.
#[test]
fn runs_take_what_is_ready() {
    for way in ways() {
        let mut cpu = open(way);
        let (layout, plan) = planned(way, &cpu);
        cpu.allocate(layout.bytes(), plan.transient_bytes()).unwrap();
        for (name, values) in parameters(1) {
            cpu.write(layout.get(&name).unwrap(), bytemuck::cast_slice(&values)).unwrap();
        }
        cpu.write(plan.input("image").unwrap(), bytemuck::cast_slice(&image(1, 0))).unwrap();
        let probability = plan.output("probability").unwrap();
        let prepared: Vec<Slot> = plan.steps().iter().filter_map(|step| step.prepared).collect();
        cpu.run(&plan).unwrap();
        let first = cpu.arena.bytes(probability).to_vec();
        for profiled in [false, true] {
            let run = |cpu: &mut Cpu| match profiled {
                true => cpu.run_profiled(&plan, &mut Vec::new()).unwrap(),
                false => cpu.run(&plan).unwrap(),
            };
            // Past `write`, which would notice.
            prepared.iter().for_each(|&slot| cpu.arena.bytes_mut(slot).fill(0));
            run(&mut cpu);
            assert!(!has_varied_pixels(cpu.arena.bytes(probability), probability), "{way:?}, profiled {profiled}: zeros");
            for &slot in &prepared {
                cpu.write(slot, &vec![0xFF; slot.bytes()]).unwrap();
            }
            run(&mut cpu);
            assert!(cpu.arena.bytes(probability) == first, "{way:?}, profiled {profiled}: made anew");
        }
    }
}

/// Beside a training nothing is kept, for the memory.
#[test]
fn a_training_keeps_nothing() {
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let training = SPEC.record_training(1, [SIZE, SIZE], loss, Target::Given).unwrap();
    let inference = SPEC.record_inference(1, [SIZE, SIZE]).unwrap();
    let kept = |tapes: &[&Tape]| {
        let session = Session::plan(cpu::open(1).unwrap(), tapes, PlanOptions::default()).unwrap();
        session.plans().iter().flat_map(Plan::steps).filter(|step| step.prepared.is_some()).count()
    };
    assert_eq!(kept(&[&training, &inference]), 0);
    assert_eq!(kept(&[&inference]), 18);
}

fn open(way: Way) -> Cpu {
    let settings = Settings { level: way.level, threads: 1, winograd: way.convolutions == Convolutions::Winograd };
    Cpu { settings, pool: Pool::new(1).unwrap(), arena: Arena::new(0, 0).unwrap(), prepared: PreparedPlan::default() }
}

fn planned(way: Way, cpu: &Cpu) -> (PersistentLayout, Plan) {
    let tape = SPEC.record_inference(1, [SIZE, SIZE]).unwrap();
    let tape = normalise_convolutions(rewrite(&tape, PlanOptions { fuse: true, precision: way.precision }));
    let layout = PersistentLayout::new(&[&tape]);
    let plan = Plan::place(&tape, &layout, &|request| cpu.scratch(request)).unwrap();
    (layout, plan)
}

fn has_varied_pixels(bytes: &[u8], slot: Slot) -> bool {
    let pixel = slot.shape.c() * slot.dtype.size();
    bytes.chunks_exact(pixel).any(|p| *p != bytes[..pixel])
}

#[test]
fn what_is_made_lasts_until_something_may_have_touched_it() {
    let way = ways().next().unwrap();
    let [plan, other] = [(), ()].map(|()| planned(way, &open(way)).1);
    let slot = |region, offset| Slot { region, offset, shape: Shape::channels(64), dtype: DType::U8 };
    let made: Vec<Slot> = plan.steps().iter().filter_map(|step| step.prepared).collect();
    let last = made.iter().map(|s| s.offset + s.bytes()).max().unwrap();
    let mut state = PreparedPlan::default();
    let mut is_ready_behind = |what: &dyn Fn(&mut PreparedPlan)| {
        state.end(&plan);
        what(&mut state);
        state.begin(&plan)
    };
    assert!(is_ready_behind(&|_| ()));
    assert!(is_ready_behind(&|state| state.note_write(plan.input("image").unwrap())));
    assert!(is_ready_behind(&|state| state.note_write(slot(Region::Transient, last))));
    assert!(!is_ready_behind(&|state| state.note_write(slot(Region::Transient, last - 64))));
    assert!(!is_ready_behind(&|state| state.note_write(slot(Region::Persistent, 0))));
    assert!(!is_ready_behind(&PreparedPlan::forget));
    assert!(!is_ready_behind(&|state| assert!(!state.begin(&other))));
    assert!(!is_ready_behind(&|state| state.end(&other)));
    // A run that failed.
    assert!(!is_ready_behind(&|state| assert!(state.begin(&plan))));
}
