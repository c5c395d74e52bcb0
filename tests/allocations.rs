//! Nothing is allocated per step after the first: counted over the other 999 of 1,000 steps of a real training, the loader's threads
//! included.
//!
//! A test binary of its own, because the counter counts the whole process; each test even has a process of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use unet_engine::dataset::Sample;
use unet_engine::geometry::Mask;
use unet_engine::image::Gray;
use unet_engine::model::Arch;
use unet_engine::random::{Philox, Purpose};
use unet_engine::train::config::{Instances, Options};
use unet_engine::train::{Request, run_on};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: usize = 16;
const BATCH: usize = 2;
/// One epoch: between epochs files are written.
const N_STEPS: usize = 1000;

/// Allocations so far, when the training asked after its first and after its last step whether to stop.
static AT_FIRST: AtomicUsize = AtomicUsize::new(0);
static AT_LAST: AtomicUsize = AtomicUsize::new(0);
static STEPS: AtomicUsize = AtomicUsize::new(0);

fn sample(series: &str, index: usize) -> Sample {
    let mut rng = Philox::new(3, 0, index as u32, Purpose::Bench);
    // Odd sizes, so that letterboxing and its weights take part.
    let (width, height) = (SIZE - index % 3, SIZE + index % 5);
    let pixels = (0..width * height).map(|_| rng.uniform() * 255.0).collect();
    // Up to four instances: more than channels, too.
    let instance = |i: usize| {
        let mut mask = Mask::new(width, height);
        (4..10 - i as i64).for_each(|y| mask.set_span(y, 3 * i as i64, 3 * i as i64 + 3));
        mask
    };
    let instances = (0..index % 5).map(instance).collect();
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(index as u64).to_le_bytes());
    Sample { series: series.into(), sub_image: index + 1, image: Gray::new(width, height, pixels), instances, digest }
}

/// A training set of a thousand batches, and a little to validate and to test.
fn samples() -> Vec<Sample> {
    let series = |index| match index {
        0..2 => "test",
        2..4 => "val",
        _ => "train",
    };
    (0..N_STEPS * BATCH + 4).map(|index| sample(series(index), index)).collect()
}

fn options(instances: usize) -> Options {
    Options {
        data: Some("in memory".into()),
        organ: Some("heart".into()),
        arch: Some(Arch::Residual),
        base: Some(2),
        levels: Some(2),
        size: Some(SIZE),
        batch: Some(BATCH),
        epochs: Some(1),
        fine_tune_epochs: Some(0),
        test_series: Some(vec!["test".into()]),
        val_series: Some(vec!["val".into()]),
        instances: Some(Instances::Count(instances)),
        threads: Some(2),
        ..Options::default()
    }
}

/// Called after every batch.
fn count() -> bool {
    let allocations = ALLOCATIONS.load(Ordering::SeqCst);
    match STEPS.fetch_add(1, Ordering::SeqCst) + 1 {
        1 => AT_FIRST.store(allocations, Ordering::SeqCst),
        N_STEPS => AT_LAST.store(allocations, Ordering::SeqCst),
        _ => {}
    }
    false
}

#[test]
fn a_step_allocates_nothing() {
    alone("a_step_allocates_nothing", 1);
}

#[test]
fn a_step_that_assigns_instances_to_channels_allocates_nothing() {
    alone("a_step_that_assigns_instances_to_channels_allocates_nothing", 3);
}

/// Counts in a process of its own: the counter counts all threads of the process.
fn alone(test: &str, instances: usize) {
    const ALONE: &str = "UNET_ENGINE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return count_allocations(instances);
    }
    let program = std::env::current_exe().expect("the test's own program");
    let output = Command::new(program).args(["--exact", test]).env(ALONE, "yes").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn count_allocations(instances: usize) {
    STEPS.store(0, Ordering::SeqCst);
    let folder = tempfile::tempdir().expect("a folder");
    let request = Request { options: options(instances), out: Some(folder.path().join("run")), resume: false, preview: None };
    run_on(&request, samples(), &count).expect("a training");
    let (first, last) = (AT_FIRST.load(Ordering::SeqCst), AT_LAST.load(Ordering::SeqCst));
    assert!(STEPS.load(Ordering::SeqCst) > N_STEPS, "validation comes after {N_STEPS} steps");
    assert!(first > 0 && last > 0, "the counter counts");
    assert_eq!(last - first, 0, "allocations in {} steps with {instances} channels", N_STEPS - 1);
}
