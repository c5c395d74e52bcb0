//! `bench augment`: how many images a second the data pipeline prepares.

use super::{Args, available_bytes, median, peak_rss_bytes};
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
    /// As given: no network takes part, but all measurements have the same keys.
    arch: Arch,
    base: usize,
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
    check_memory(args, workers)?;
    let options = LoaderOptions {
        batch: args.batch(),
        size: [args.size(); 2],
        seed: args.seed,
        workers,
        augment: Some(AugmentConfig::default()),
        normalization: Normalization { mean: 0.5, deviation: 0.25 },
        channels: 1,
    };
    let samples = (0..N_SAMPLES).map(|i| sample(args, i)).collect();
    let mut loader = Loader::new(Arc::new(samples), options)?;
    let mut order = (0..).map(|i: u64| ((i / N_SAMPLES as u64) as u32, (i % N_SAMPLES as u64) as usize));
    let mut batch = Vec::with_capacity(args.batch());
    for _ in 0..WARM_UP {
        enqueue(&mut loader, &mut order, &mut batch, args.batch());
        next(&mut loader)?;
    }
    // Nothing is prepared now: what was done before the clock starts would count as speed.
    let start = Instant::now();
    // Enough for every worker to have work, never all steps at once.
    let ahead = (WARM_UP + workers).min(args.steps);
    for _ in 0..ahead {
        enqueue(&mut loader, &mut order, &mut batch, args.batch());
    }
    let mut seconds = Vec::with_capacity(args.steps);
    for step in 0..args.steps {
        let start = Instant::now();
        next(&mut loader)?;
        seconds.push(start.elapsed().as_secs_f64());
        if step + ahead < args.steps {
            enqueue(&mut loader, &mut order, &mut batch, args.batch());
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    seconds.sort_by(f64::total_cmp);
    let report = Report {
        what: "augment",
        images_per_s: (args.steps * args.batch()) as f64 / elapsed,
        step_ms_median: median(&seconds) * 1e3,
        arena_bytes: loader.host_bytes(),
        peak_rss_bytes: peak_rss_bytes(),
        arch: args.arch,
        base: args.base(),
        size: args.size(),
        batch: args.batch(),
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
        args.size(),
        args.size(),
        args.batch(),
        1e3 * elapsed / args.steps as f64,
        report.arena_bytes >> 20
    ))
}

/// Refuses batches that this machine has no memory for: buffers that cannot be allocated would end the program.
fn check_memory(args: &Args, workers: usize) -> Result<()> {
    // Image, target and weight, in a buffer for each worker, one that is ready and one that is taken; and the samples, each as a picture,
    // prepared, and as a mask.
    let in_batches = (workers + 2) * args.batch() * 3 * size_of::<f32>();
    let in_samples = N_SAMPLES * 3 * size_of::<f32>();
    let needed = (in_batches + in_samples) as u128 * (args.size() as u128).pow(2);
    match available_bytes() {
        Some(available) if needed > u128::from(available) => {
            let message = format!("the batches need {} MiB of memory, {} MiB are free", needed >> 20, available >> 20);
            Err(Error::device(message).remedy("use a smaller --batch, --size or --threads"))
        }
        _ => Ok(()),
    }
}

/// Appends the next batch of the order.
fn enqueue(loader: &mut Loader, order: &mut impl Iterator<Item = (u32, usize)>, batch: &mut Vec<(u32, usize)>, n: usize) {
    batch.clear();
    batch.extend(order.by_ref().take(n));
    loader.enqueue(batch);
}

fn next(loader: &mut Loader) -> Result<()> {
    loader.next()?.map(drop).ok_or_else(|| Error::run("the loader ended before all batches were prepared"))
}

/// Noise with a disc: the pipeline's work does not depend on what is in the picture.
fn sample(args: &Args, index: usize) -> Sample {
    let size = args.size();
    let mut rng = Philox::new(args.seed, 0, index as u32, Purpose::Bench);
    let image = Gray::new(size, size, (0..size * size).map(|_| rng.uniform()).collect());
    let inside = |i: usize| (i % size).abs_diff(size / 2).pow(2) + (i / size).abs_diff(size / 2).pow(2) < (size / 8).pow(2);
    let disc = Mask::from_pixels(size, size, (0..size * size).map(|i| u8::from(inside(i))).collect());
    Sample { series: "bench".into(), sub_image: index + 1, image, instances: vec![disc], digest: [0; 32] }
}
