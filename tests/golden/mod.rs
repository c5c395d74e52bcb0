//! The CPU backend against PyTorch in f64: golden files written by `tools/golden/write.py`, whose docstring says what they hold.
//!
//! A tensor may be as far from PyTorch's f64 as four times PyTorch's own f32 is, or 1e-4 of its norm, whichever is larger.

use crate::engine::networks::{distance, read, training_with_gradients, write_all};
use crate::reference::Array;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use unet_engine::backend::{Session, cpu};
use unet_engine::model::{Arch, NetworkSpec, Parameter, ParameterKind, Target};
use unet_engine::ops::dice_bce::LossParameters;
use unet_engine::plan::PlanOptions;
use unet_engine::random::{Philox, Purpose};
use unet_engine::tape::{Residence, Shape, Tape};

const BATCH: usize = 2;
const RATE: f32 = 1e-4;

/// What the script calls an entry of NETWORKS.
struct Golden {
    name: &'static str,
    seed: u64,
    spec: NetworkSpec,
    size: usize,
    loss: LossParameters,
    has_padding: bool,
}

fn golden(arch: Arch) -> Golden {
    let spec = |levels, channels_out| NetworkSpec { arch, base: 2, levels, channels_in: 1, channels_out };
    let plain = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    match arch {
        Arch::Standard => Golden { name: "standard", seed: 7, spec: spec(4, 1), size: 32, loss: plain, has_padding: false },
        Arch::Deep => {
            let loss = LossParameters { alpha: 0.3, class_weight: 3.0, ..plain };
            Golden { name: "deep", seed: 9, spec: spec(5, 1), size: 64, loss, has_padding: true }
        }
        Arch::Residual => {
            let loss = LossParameters { smooth: 0.5, focal_gamma: 2.0, ..plain };
            Golden { name: "residual", seed: 7, spec: spec(4, 3), size: 32, loss, has_padding: true }
        }
    }
}

impl Golden {
    fn tensors(&self) -> BTreeMap<String, Array> {
        let path = format!("{}/tests/data/golden/{}.safetensors", env!("CARGO_MANIFEST_DIR"), self.name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{path}: {e}"));
        file.iter().map(|(name, view)| (name.to_string(), to_array(view.shape(), view.dtype(), view.data()))).collect()
    }

    /// Inputs and persistent values of the first step, as the script makes them.
    fn data(&self, tape: &Tape) -> BTreeMap<String, Array> {
        let mut data = BTreeMap::new();
        let parameters = self.spec.parameters();
        for value in tape.values() {
            let (Residence::Input(name) | Residence::Persistent(name)) = &value.residence else { continue };
            let array = match parameters.iter().position(|p| p.name == *name) {
                Some(index) => parameter(&parameters[index], index, self.seed),
                None => self.other_value(name, value.shape),
            };
            data.insert(name.clone(), array);
        }
        data
    }

    fn other_value(&self, name: &str, shape: Shape) -> Array {
        let random = |image| Philox::new(self.seed, 0, image, Purpose::Bench);
        let below = |mut random: Philox, p: f32| Array::from_fn(shape.0, |_| f64::from(f32::from(random.uniform() < p)));
        match name {
            "image" => ranged(random(1000), shape, -1.0, 1.0),
            "target" => below(random(1001), 0.3),
            "weight" => below(random(1002), if self.has_padding { 0.9 } else { 2.0 }),
            "loss_scale" => Array::vector(vec![1.0]),
            _ => Array::zeros(shape.0),
        }
    }
}

fn to_array(shape: &[usize], dtype: Dtype, bytes: &[u8]) -> Array {
    let mut extents = [1; 4];
    extents[4 - shape.len()..].copy_from_slice(shape);
    let data = match dtype {
        Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(bytes).into_iter().map(f64::from).collect(),
        Dtype::F64 => bytemuck::pod_collect_to_vec::<u8, f64>(bytes),
        other => panic!("golden files hold f32 and f64, not {other:?}"),
    };
    Array::new(extents, data)
}

/// Uniform, unlike `initialise`: NumPy has the same bits without logarithm and cosine.
fn parameter(parameter: &Parameter, index: usize, seed: u64) -> Array {
    let random = Philox::new(seed, 0, index as u32, Purpose::Initialise);
    match parameter.kind {
        ParameterKind::Weight { fan_in } => {
            let bound = (6.0 / fan_in as f64).sqrt() as f32;
            ranged(random, parameter.shape, -bound, bound)
        }
        ParameterKind::Gamma | ParameterKind::RunningVar => ranged(random, parameter.shape, 0.5, 1.5),
        ParameterKind::Bias | ParameterKind::Beta | ParameterKind::RunningMean => ranged(random, parameter.shape, -0.5, 0.5),
    }
}

fn ranged(mut random: Philox, shape: Shape, from: f32, to: f32) -> Array {
    Array::from_fn(shape.0, |_| f64::from(random.range(from, to)))
}

fn allowed(tensors: &BTreeMap<String, Array>, key: &str) -> f64 {
    (4.0 * tensors[&format!("{key}@f32")].data[0]).max(1e-4)
}

/// An error that names the tensor, if `found` is too far from the golden one.
fn judge(tensors: &BTreeMap<String, Array>, key: &str, found: &Array) -> Result<(), String> {
    let expected = &tensors[key];
    let reshaped = Array::new(expected.shape, found.data.clone());
    let (distance, allowed) = (distance(&reshaped, expected), allowed(tensors, key));
    if distance <= allowed { Ok(()) } else { Err(format!("{key} is {distance:e} away, allowed {allowed:e}")) }
}

fn session(golden: &Golden, tape: &Tape) -> Session {
    let mut session = Session::new(cpu::open(2).expect("a CPU backend"), &[tape], PlanOptions::default()).expect("a plan");
    write_all(&mut session, &golden.data(tape));
    session
}

fn set_schedule(session: &mut Session, t: i32) {
    let correction = |beta: f64| (1.0 / (1.0 - beta.powi(t))) as f32;
    session.write_persistent("schedule", &[RATE, correction(0.9), correction(0.999), 1.0]).expect("four numbers");
}

fn check_training(arch: Arch) {
    let golden = golden(arch);
    let tensors = golden.tensors();
    let tape = training_with_gradients(&golden.spec, BATCH, [golden.size; 2], golden.loss, Target::Given);
    let mut session = session(&golden, &tape);
    set_schedule(&mut session, 1);
    session.run(0).unwrap();
    let running = golden.spec.parameters().into_iter().filter(|p| !p.kind.is_trained()).map(|p| p.name);
    let pairs = running.map(|name| (format!("running/{name}"), name));
    let trained = golden.spec.parameters().into_iter().filter(|p| p.kind.is_trained());
    let pairs = pairs.chain(trained.map(|p| (format!("grad/{}", p.name), format!("grad {}", p.name))));
    let pairs = pairs.chain(["logits", "loss"].map(|name| (name.to_string(), name.to_string())));
    let failures: Vec<String> = pairs.filter_map(|(key, name)| judge(&tensors, &key, &read(&session, &name)).err()).collect();
    assert!(failures.is_empty(), "{}:\n{}", golden.name, failures.join("\n"));
    for (step, &expected) in tensors["losses"].data.iter().enumerate() {
        if step > 0 {
            set_schedule(&mut session, step as i32 + 1);
            session.run(0).unwrap();
        }
        let found = read(&session, "loss").data[0];
        assert!((found - expected).abs() < 1e-3, "{}: loss of step {} is {found}, not {expected}", golden.name, step + 1);
    }
}

#[test]
fn standard_trains_as_in_pytorch() {
    check_training(Arch::Standard);
}

#[test]
fn deep_trains_as_in_pytorch() {
    check_training(Arch::Deep);
}

#[test]
fn residual_trains_as_in_pytorch() {
    check_training(Arch::Residual);
}

#[test]
fn validation_is_as_in_pytorch() {
    for arch in [Arch::Standard, Arch::Deep, Arch::Residual] {
        let golden = golden(arch);
        let tensors = golden.tensors();
        let tape = golden.spec.record_validation(BATCH, [golden.size; 2], golden.loss, Target::Given).unwrap();
        let mut session = session(&golden, &tape);
        session.run(0).unwrap();
        assert_eq!(judge(&tensors, "probability", &read(&session, "probability")), Ok(()));
        assert_eq!(judge(&tensors, "eval_loss", &read(&session, "loss")), Ok(()));
    }
}

/// The check is checked: it must notice every gradient that is zero, scaled by 3 or transposed.
#[test]
fn wrong_gradients_are_noticed() {
    let golden = golden(Arch::Residual);
    let tensors = golden.tensors();
    for parameter in golden.spec.parameters().iter().filter(|p| p.kind.is_trained()) {
        let key = format!("grad/{}", parameter.name);
        let right = &tensors[&key];
        assert_eq!(judge(&tensors, &key, right), Ok(()));
        assert!(judge(&tensors, &key, &right.map(|_| 0.0)).is_err(), "{key} zero");
        assert!(judge(&tensors, &key, &right.map(|x| 3.0 * x)).is_err(), "{key} scaled");
        let [r, s, ci, co] = right.shape;
        if ci > 1 && co > 1 {
            let transposed: Vec<f64> = (0..r * s * co * ci)
                .map(|i| {
                    let (tap, row, column) = (i / (ci * co), i % (ci * co) / ci, i % ci);
                    right.data[(tap * ci + column) * co + row]
                })
                .collect();
            assert!(judge(&tensors, &key, &Array::new(right.shape, transposed)).is_err(), "{key} transposed");
        }
    }
}
