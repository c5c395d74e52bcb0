//! A training from the outside: tiny networks on pictures of discs.

mod augmented;
mod channels;
#[cfg(feature = "cuda")]
mod cuda;
mod failures;
mod resume;
mod several;

use std::path::{Path, PathBuf};
use unet_engine::dataset::Sample;
use unet_engine::error::Result;
use unet_engine::geometry::Mask;
use unet_engine::image::Gray;
use unet_engine::random::{Philox, Purpose};
use unet_engine::train::config::Options;
use unet_engine::train::{EpochLine, Request, run_on};

/// Five series of six sub-images, 30 x 26: a bright disc on noise, in every fourth one none.
pub fn discs() -> Vec<Sample> {
    (0..30).map(|i| disc(&format!("litter-{}", i / 6), i % 6 + 1, i)).collect()
}

fn disc(series: &str, sub_image: usize, index: usize) -> Sample {
    let (width, height) = (30, 26);
    let mut random = Philox::new(5, 0, index as u32, Purpose::Synth);
    let (x, y, radius) = (random.range(8.0, 22.0), random.range(8.0, 18.0), random.range(4.0, 7.0));
    let is_there = index % 4 != 3;
    let mut mask = Mask::new(width, height);
    let mut pixels = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let distance = (column as f32 + 0.5 - x).hypot(row as f32 + 0.5 - y);
            let inside = is_there && distance < radius;
            mask.set(column, row, inside);
            pixels.push((60.0 + 80.0 * f32::from(u8::from(inside)) + 25.0 * random.normal()).clamp(0.0, 255.0));
        }
    }
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(index as u64).to_le_bytes());
    let instances = if is_there { vec![mask] } else { Vec::new() };
    Sample { series: series.into(), sub_image, image: Gray::new(width, height, pixels), instances, digest }
}

/// A tiny training with both phases.
pub fn tiny(out: &Path) -> Request {
    let options = Options {
        data: Some("in-memory".into()),
        organ: Some("disc".into()),
        device: Some("cpu".into()),
        base: Some(2),
        levels: Some(2),
        size: Some(32),
        batch: Some(4),
        epochs: Some(3),
        fine_tune_epochs: Some(2),
        lr: Some(1e-2),
        threads: Some(1),
        ..Options::default()
    };
    Request { options, out: Some(out.into()), ..Request::default() }
}

pub fn train(request: &Request) -> Result<PathBuf> {
    run_on(request, discs(), &|| false)
}

/// The log without its times.
pub fn log_of(run: &Path) -> Vec<EpochLine> {
    let text = std::fs::read_to_string(run.join("train.jsonl")).unwrap();
    let line = |text| EpochLine { images_per_s: 0.0, seconds: 0.0, ..serde_json::from_str(text).unwrap() };
    text.lines().map(line).collect()
}

/// The bytes of a checkpoint.
pub fn checkpoint(run: &Path, name: &str) -> Vec<u8> {
    std::fs::read(run.join(format!("checkpoints/{name}.safetensors"))).unwrap()
}

/// Two runs are one: the same `last`, `best` and log.
pub fn assert_same_run(a: &Path, b: &Path) {
    assert_eq!(log_of(a), log_of(b));
    for name in ["best", "last"] {
        assert!(checkpoint(a, name) == checkpoint(b, name), "{name} differs between {} and {}", a.display(), b.display());
    }
}

#[test]
fn it_learns_discs_and_leaves_a_run_directory() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut request = tiny(&run);
    request.options.base = Some(4);
    request.options.epochs = Some(25);
    request.options.fine_tune_epochs = Some(0);
    train(&request).unwrap();
    let log = log_of(&run);
    assert_eq!(log.iter().map(|line| line.epoch).collect::<Vec<_>>(), (1..=log.len() as u32).collect::<Vec<_>>());
    let best = log.iter().filter_map(|line| line.val_dice).fold(0.0, f64::max);
    assert!(best > 0.8, "validation Dice {best}");
    for file in ["config.toml", "splits.json", "environment.json", "calibration.json", "checkpoints/best.safetensors.sha256"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    let model = unet_engine::checkpoint::Model::open(&run).unwrap();
    assert_eq!((model.name.as_str(), model.organ.as_str(), model.size), ("run", "disc", [32, 32]));
}

/// The results do not depend on the number of threads.
#[test]
fn thread_counts_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [1, 2, 4].map(|threads| {
        let run = folder.path().join(format!("threads-{threads}"));
        let mut request = tiny(&run);
        request.options.threads = Some(threads);
        train(&request).unwrap();
        run
    });
    assert_same_run(&runs[0], &runs[1]);
    assert_same_run(&runs[0], &runs[2]);
}

#[test]
fn another_seed_is_another_training() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [0, 1].map(|seed| {
        let run = folder.path().join(format!("seed-{seed}"));
        let mut request = tiny(&run);
        request.options.seed = Some(seed);
        request.options.val_series = Some(vec!["litter-0".into()]);
        request.options.test_series = Some(vec!["litter-1".into()]);
        train(&request).unwrap();
        run
    });
    assert_ne!(log_of(&runs[0]), log_of(&runs[1]));
}
