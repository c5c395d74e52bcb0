//! Trainings on the emulated GPU: the losses follow the CPU's, and checkpoints go back and forth.

use super::{discs, log_of, tiny, train};
use crate::ops::emulator;
use std::cell::Cell;
use std::path::Path;
use unet_engine::error::ErrorKind;
use unet_engine::train::config::{Options, PrecisionChoice};
use unet_engine::train::{EpochLine, Request, run_on};

fn on(device: &str, precision: PrecisionChoice, out: &Path) -> Request {
    let mut request = tiny(out);
    let options = Options {
        device: Some(device.into()),
        precision: Some(precision),
        size: Some(16),
        epochs: Some(1),
        fine_tune_epochs: Some(1),
        ..request.options
    };
    request.options = options;
    request
}

fn largest_distance(a: &[EpochLine], b: &[EpochLine]) -> f64 {
    assert_eq!(a.len(), b.len());
    let losses = |line: &EpochLine| [line.train_loss, line.val_loss];
    a.iter().zip(b).flat_map(|(a, b)| losses(a).into_iter().zip(losses(b))).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn losses_follow_the_cpu() {
    let Some(library) = emulator::library(80) else { return };
    let emulator = format!("emulator:{}", library.display());
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, device: &str, precision| {
        let out = folder.path().join(name);
        train(&on(device, precision, &out)).unwrap();
        log_of(&out)
    };
    let cpu = run("cpu", "cpu", PrecisionChoice::F32);
    let f32 = run("f32", &emulator, PrecisionChoice::F32);
    let distance = largest_distance(&f32, &cpu);
    assert!(distance < 1e-3, "f32: the losses part by {distance:e}");
    let mixed = run("mixed", &emulator, PrecisionChoice::Mixed);
    let distance = largest_distance(&mixed, &cpu);
    assert!(distance < 0.02, "mixed precision: the losses part by {distance:e}");
    assert!(distance > 0.0, "f16 left no trace: was it used?");
}

/// A training that begins on the GPU, is stopped, and goes on on the CPU, ends where one on the CPU ends.
#[test]
fn a_checkpoint_goes_to_another_device() {
    let Some(library) = emulator::library(80) else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    train(&on("cpu", PrecisionChoice::F32, &whole)).unwrap();
    let moved = folder.path().join("moved");
    let mut request = on(&format!("emulator:{}", library.display()), PrecisionChoice::F32, &moved);
    let asked = Cell::new(0);
    let interrupt = || {
        asked.set(asked.get() + 1);
        asked.get() == 6
    };
    let stopped = run_on(&request, discs(), &interrupt).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Interrupted, "{stopped}");
    request.options = Options { device: Some("cpu".into()), ..Options::default() };
    request.resume = true;
    run_on(&request, discs(), &|| false).unwrap();
    let distance = largest_distance(&log_of(&moved), &log_of(&whole));
    assert!(distance < 1e-3, "the losses part by {distance:e}");
    assert!(distance > 0.0, "not a bit differs: was it moved?");
}
