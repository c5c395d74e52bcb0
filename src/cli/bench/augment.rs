//! `bench augment`: how many images a second the data pipeline prepares.

use super::{Args, median, peak_rss_bytes};
use crate::augment::{AugmentConfig, Loader, LoaderOptions, Normalization};
use crate::cli::{print_json, print_line};
use crate::dataset::Sample;
use crate::error::{Error, Result};
use crate::geometry::Mask;
use crate::image::Gray;
use crate::model::Arch;
use crate::random::{Philox, Purpose};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Sub-images that batches are drawn from.
const N_SAMPLES: usize = 16;
/// Batches that fill the ring of buffers before the clock starts.
const WARM_UP: usize = 8;

/// What was found.
#[derive(Serialize)]
struct Report {
    what: &'static str,
    images_per_s: f64,
    step_ms_median: f64,
    /// All host buffers of the pipeline.
    arena_bytes: usize,
    peak_rss_bytes: Option<u64>,
    /// No network takes part: null, so that all measurements have the same keys.
    arch: Option<Arch>,
    base: Option<usize>,
    size: usize,
    batch: usize,
    steps: usize,
    workers: usize,
    device: &'static str,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let workers = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let options = LoaderOptions {
        batch: args.batch,
        size: [args.size; 2],
        seed: args.seed,
        workers,
        augment: Some(AugmentConfig::default()),
        normalization: Normalization { mean: 0.5, deviation: 0.25 },
        channels: 1,
    };
    let samples = (0..N_SAMPLES).map(|i| sample(args, i)).collect();
    let mut loader = Loader::new(Arc::new(samples), options)?;
    let order: Vec<(u32, usize)> =
        (0..(WARM_UP + args.steps) * args.batch).map(|i| ((i / N_SAMPLES) as u32, i % N_SAMPLES)).collect();
    loader.enqueue(&order);
    for _ in 0..WARM_UP {
        next(&mut loader)?;
    }
    let start = Instant::now();
    let mut seconds = Vec::with_capacity(args.steps);
    for _ in 0..args.steps {
        let start = Instant::now();
        next(&mut loader)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let elapsed = start.elapsed().as_secs_f64();
    seconds.sort_by(f64::total_cmp);
    let report = Report {
        what: "augment",
        images_per_s: (args.steps * args.batch) as f64 / elapsed,
        step_ms_median: median(&seconds) * 1e3,
        arena_bytes: loader.host_bytes(),
        peak_rss_bytes: peak_rss_bytes(),
        arch: None,
        base: None,
        size: args.size,
        batch: args.batch,
        steps: args.steps,
        workers,
        device: "cpu",
    };
    if args.json {
        return print_json(&report);
    }
    print_line(&format!("augment, {workers} workers: {:.1} images/s", report.images_per_s))?;
    print_line(&format!(
        "  {}x{}, batch {}: a batch every {:.1} ms; host buffers {} MiB",
        args.size,
        args.size,
        args.batch,
        1e3 * elapsed / args.steps as f64,
        report.arena_bytes >> 20
    ))
}

fn next(loader: &mut Loader) -> Result<()> {
    loader.next()?.map(drop).ok_or_else(|| Error::run("the loader ended before all batches were prepared"))
}

/// Noise with a disc: the pipeline's work does not depend on what is in the picture.
fn sample(args: &Args, index: usize) -> Sample {
    let size = args.size;
    let mut rng = Philox::new(args.seed, 0, index as u32, Purpose::Bench);
    let image = Gray::new(size, size, (0..size * size).map(|_| rng.uniform()).collect());
    let inside = |i: usize| (i % size).abs_diff(size / 2).pow(2) + (i / size).abs_diff(size / 2).pow(2) < (size / 8).pow(2);
    let disc = Mask::from_pixels(size, size, (0..size * size).map(|i| u8::from(inside(i))).collect());
    Sample { series: "bench".into(), sub_image: index + 1, image, instances: vec![disc], digest: [0; 32] }
}
