//! The state and the configuration that `train --resume` reads.

use super::mutate::Corpus;
use super::runner::Suite;
use super::targets;
use std::path::Path;
use std::sync::OnceLock;
use unet_engine::checkpoint::{self, Checkpoint};
use unet_engine::dataset::Sample;
use unet_engine::geometry::Mask;
use unet_engine::image::Gray;
use unet_engine::model::Arch;
use unet_engine::train::config::Options;
use unet_engine::train::{Request, run_on};

fn samples() -> Vec<Sample> {
    let sample = |i: usize| {
        let mut mask = Mask::new(16, 16);
        (4..9).for_each(|y| mask.set_span(y, 3, 10));
        let mut digest = [0; 32];
        digest[0] = i as u8;
        let pixels = (0..256).map(|p| ((p * 37 + i * 101) % 251) as f32).collect();
        Sample {
            series: format!("s{}", i / 2),
            sub_image: i % 2 + 1,
            image: Gray::new(16, 16, pixels),
            instances: vec![mask],
            digest,
        }
    };
    (0..6).map(sample).collect()
}

fn request(run: &Path) -> Request {
    let options = Options {
        data: Some("in-memory".into()),
        organ: Some("disc".into()),
        device: Some("cpu".into()),
        arch: Some(Arch::Standard),
        base: Some(2),
        levels: Some(1),
        size: Some(16),
        batch: Some(2),
        epochs: Some(3),
        fine_tune_epochs: Some(1),
        threads: Some(1),
        ..Options::default()
    };
    Request { options, out: Some(run.to_path_buf()), ..Request::default() }
}

/// A run that was stopped in its second epoch: its folder, and its last checkpoint.
fn stopped() -> &'static (tempfile::TempDir, Checkpoint) {
    static RUN: OnceLock<(tempfile::TempDir, Checkpoint)> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("run");
        let asked = std::cell::Cell::new(0);
        let interrupt = || {
            asked.set(asked.get() + 1);
            asked.get() == 4
        };
        run_on(&request(&run), samples(), &interrupt).expect_err("an interruption");
        let last = checkpoint::read(&run.join("checkpoints/last.safetensors")).expect("a checkpoint");
        (folder, last)
    })
}

/// Goes on for one batch with this text as the checkpoint's metadata, then a 0, then `config.toml`.
fn resume(bytes: &[u8]) -> bool {
    let (folder, last) = stopped();
    let (good, run) = (folder.path().join("run"), targets::scratch("resumed"));
    let _ = std::fs::remove_dir_all(&run);
    std::fs::create_dir_all(run.join("checkpoints")).expect("a folder");
    for name in
        ["splits.json", "train.jsonl", "environment.json", "checkpoints/best.safetensors", "checkpoints/best.safetensors.sha256"]
    {
        let _ = std::fs::copy(good.join(name), run.join(name));
    }
    let mut parts = bytes.split(|&b| b == 0);
    let checkpoint = targets::with_metadata(parts.next().unwrap_or_default(), &last.tensors);
    std::fs::write(run.join("checkpoints/last.safetensors.sha256"), checkpoint::checksum(&checkpoint)).expect("a file");
    std::fs::write(run.join("checkpoints/last.safetensors"), checkpoint).expect("a file");
    std::fs::write(run.join("config.toml"), parts.next().unwrap_or_default()).expect("a file");
    let request = Request { resume: true, out: Some(run), ..Request::default() };
    let error = run_on(&request, samples(), &|| true).expect_err("an interruption, if nothing else");
    error.kind() == unet_engine::error::ErrorKind::Interrupted
}

fn corpus() -> Vec<Vec<u8>> {
    let (folder, last) = stopped();
    let header = serde_json::json!({"model": last.description, "state": last.state}).to_string();
    let config = std::fs::read(folder.path().join("run/config.toml")).expect("a configuration");
    vec![[header.as_bytes(), b"\0", &config].concat()]
}

/// Plans and arenas of a network of this size, and the loader's buffers; the bound is about sizes believed, not about the training.
fn bound(_: &[u8]) -> usize {
    64 << 20
}

const WORDS: [&str; 10] = ["{", "}", "[", "]", "\"", ",", "null", "-", "\"fine-tune\"", "\"done\""];

#[test]
fn mutants() {
    let corpus = Corpus { files: corpus(), words: &WORDS };
    assert!(resume(&corpus.files[0]), "the good run goes on");
    Suite { name: "resume", corpus, n_mutants: 2_000, run: resume, bound, repair: None }.test();
}
