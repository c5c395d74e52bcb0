//! A plan that augments trains as the loader's threads would have had it: to the last bit, on every device.

use super::discs;
#[cfg(feature = "cuda")]
use crate::ops::emulator;
use std::sync::Arc;
use unet_engine::augment::{AugmentConfig, Buffers, Loader, LoaderOptions, Normalization};
use unet_engine::backend::{Backend, cpu};
use unet_engine::model::{Arch, NetworkSpec, initialise};
use unet_engine::ops::assign::Assignment;
use unet_engine::ops::augment::Pictures;
use unet_engine::ops::dice_bce::LossParameters;
use unet_engine::plan::Precision;
use unet_engine::train::{Engine, EngineOptions, Inputs, Totals};

const SIZE: [usize; 2] = [16, 16];
const STEPS: u32 = 2;

fn network(channels_out: usize) -> NetworkSpec {
    NetworkSpec { arch: Arch::Standard, base: 2, levels: 1, channels_in: 1, channels_out }
}

fn loader_options(channels: usize, augment: Option<AugmentConfig>) -> LoaderOptions {
    let normalization = Normalization { mean: 0.4, deviation: 0.3 };
    LoaderOptions { batch: 3, size: SIZE, seed: 9, workers: 2, augment, normalization, channels }
}

fn engine(backend: Box<dyn Backend>, channels: usize, precision: Precision, pictures: Option<Pictures>) -> Engine {
    let network = network(channels);
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let assignment = Assignment::LeastCost;
    let options = EngineOptions { network, batch: 3, size: SIZE, loss, assignment, precision, pictures };
    let mut engine = Engine::plan(backend, &options).expect("a plan");
    engine.allocate().expect("memory");
    for (i, parameter) in network.parameters().iter().enumerate() {
        engine.write(&parameter.name, &initialise(parameter, i, 1)).expect("a parameter");
    }
    engine
}

/// Losses of a few steps, and the weights behind them.
fn train<B: Buffers>(mut engine: Engine, mut loader: Loader<B>, channels: usize) -> (Vec<u32>, Vec<Vec<f32>>)
where
    for<'a> Inputs<'a>: From<&'a B>,
{
    let order: Vec<(u32, usize)> = (0..STEPS).flat_map(|step| (0..3).map(move |i| (step, (5 * step as usize + i) % 7))).collect();
    loader.enqueue(&order);
    let mut losses = Vec::new();
    let mut totals = Totals::new(channels);
    while let Some(batch) = loader.next().expect("no panic") {
        let step = engine.step(batch, [1e-2, 1.0, 1.0, 1.0], 1.0, &mut totals).expect("a step");
        losses.push(step.loss.to_bits());
    }
    let names = network(channels).parameters().into_iter().map(|parameter| parameter.name);
    (losses, names.map(|name| engine.session().read_persistent(&name).expect("it is kept")).collect())
}

fn check(open: impl Fn() -> Box<dyn Backend>, precision: Precision, channels: usize, augment: Option<AugmentConfig>) {
    let samples = Arc::new(discs()[..7].to_vec());
    let pictures = Pictures::of(&samples, SIZE, augment.as_ref());
    let by_plan = engine(open(), channels, precision, Some(pictures));
    let first = &by_plan.session().plans()[0].steps()[0];
    assert_eq!(first.instruction.name(), "augment");
    let by_threads = engine(open(), channels, precision, None);
    let options = || loader_options(channels, augment.clone());
    let raw = Loader::raw(samples.clone(), options(), &pictures).expect("threads start");
    let host = Loader::new(samples, options()).expect("threads start");
    let (found, expected) = (train(by_plan, raw, channels), train(by_threads, host, channels));
    assert_eq!(found.0.len(), STEPS as usize);
    assert!(found == expected, "{channels} channels: losses {:?} and {:?}", found.0, expected.0);
}

#[test]
fn the_cpu_trains_the_same() {
    for (channels, augment) in [(1, Some(AugmentConfig::default())), (2, Some(AugmentConfig::default())), (1, None)] {
        check(|| cpu::open(2).expect("a CPU backend"), Precision::F32, channels, augment);
    }
    assert!(!cpu::open(1).expect("a CPU backend").augments(), "on the CPU the loader's threads augment");
}

#[cfg(feature = "cuda")]
#[test]
fn the_emulated_gpu_trains_the_same() {
    if emulator::library(80).is_none() {
        return;
    }
    let open = || -> Box<dyn Backend> { Box::new(emulator::open(80, 3).expect("it is built")) };
    assert!(open().augments());
    check(open, Precision::Mixed, 2, Some(AugmentConfig::default()));
}

/// A batch of the other kind is an error, and so is a network that takes colours.
#[test]
fn what_does_not_fit_is_an_error() {
    let samples = Arc::new(discs()[..7].to_vec());
    let pictures = Pictures::of(&samples, SIZE, None);
    let mut by_plan = engine(cpu::open(1).expect("a CPU backend"), 1, Precision::F32, Some(pictures));
    let mut loader = Loader::new(samples, loader_options(1, None)).expect("threads start");
    loader.enqueue(&[(0, 0); 3]);
    let batch = loader.next().expect("no panic").expect("a batch");
    let error = by_plan.step(batch, [0.0; 4], 1.0, &mut Totals::new(1)).expect_err("arrays instead of pictures");
    assert!(error.to_string().contains("no input called image"), "{error}");
    let colours = NetworkSpec { channels_in: 3, ..network(1) };
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let target = unet_engine::model::Target::Given;
    let error = colours.record_augmented_training(3, &pictures, loss, target).expect_err("three channels");
    assert!(error.to_string().contains("3 channels"), "{error}");
}

/// What crosses to the device is smaller than the arrays that the loader's threads would send.
#[test]
fn its_batches_are_compact() {
    let pictures = Pictures::of(&discs(), [32, 32], Some(&AugmentConfig::default()));
    let bytes: usize = pictures.inputs(1).iter().map(|(_, shape, dtype)| shape.len() * dtype.size()).sum();
    let arrays = 3 * 32 * 32 * 4;
    assert!(bytes < arrays / 2, "{bytes} bytes a picture, {arrays} of arrays");
}
