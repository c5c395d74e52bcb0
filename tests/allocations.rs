//! Nothing is allocated per step after the first: counted over 1,000 steps, the loader's threads included.
//!
//! A test binary of its own, because the counter counts the whole process: no other test may run beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use unet_engine::augment::{AugmentConfig, Loader, LoaderOptions, Normalization};
use unet_engine::backend::cpu;
use unet_engine::dataset::Sample;
use unet_engine::geometry::Mask;
use unet_engine::image::Gray;
use unet_engine::model::{Arch, NetworkSpec, initialise};
use unet_engine::ops::dice_bce::LossParameters;
use unet_engine::random::{Philox, Purpose};
use unet_engine::train::{Engine, Totals};

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

const SIZE: usize = 32;
const BATCH: usize = 2;
const N_SAMPLES: usize = 10;
const N_STEPS: usize = 1000;

fn sample(index: usize) -> Sample {
    let mut rng = Philox::new(3, 0, index as u32, Purpose::Bench);
    // Odd sizes, so that letterboxing and its weights take part.
    let (width, height) = (SIZE - index % 3, SIZE + index % 5);
    let pixels = (0..width * height).map(|_| rng.uniform() * 255.0).collect();
    let mut mask = Mask::new(width, height);
    (8..20).for_each(|y| mask.set_span(y, 6, 18));
    let digest = [index as u8; 32];
    Sample { series: "s".into(), sub_image: index + 1, image: Gray::new(width, height, pixels), instances: vec![mask], digest }
}

fn loader() -> Loader {
    let samples = Arc::new((0..N_SAMPLES).map(sample).collect::<Vec<_>>());
    let options = LoaderOptions {
        batch: BATCH,
        size: [SIZE, SIZE],
        seed: 1,
        workers: 2,
        augment: Some(AugmentConfig::default()),
        normalization: Normalization { mean: 0.5, deviation: 0.25 },
    };
    Loader::new(samples, options).expect("a loader")
}

fn engine(loss: LossParameters) -> Engine {
    let network = NetworkSpec { arch: Arch::Residual, base: 4, levels: 2, channels_in: 1, channels_out: 1 };
    let mut engine = Engine::new(cpu::open(2).expect("a CPU"), &network, BATCH, [SIZE, SIZE], loss).expect("an engine");
    for (index, parameter) in network.parameters().iter().enumerate() {
        engine.write(&parameter.name, &initialise(parameter, index, 1)).expect("a parameter");
    }
    engine
}

#[test]
fn a_step_allocates_nothing() {
    let mut loader = loader();
    let mut engine = engine(LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 });
    let mut totals = Totals::new(1);
    let warm_up = 20;
    let order: Vec<(u32, usize)> = (0..(warm_up + N_STEPS) * BATCH).map(|i| (0, i % N_SAMPLES)).collect();
    loader.enqueue(&order);
    let mut before = 0;
    let mut n_steps = 0;
    let mut loss = f32::NAN;
    while let Some(batch) = loader.next().expect("a batch") {
        if n_steps == warm_up {
            before = ALLOCATIONS.load(Ordering::SeqCst);
        }
        loss = engine.step(batch, [1e-3, 1.0, 1.0, 1.0], &mut totals).expect("a step");
        n_steps += 1;
    }
    let allocated = ALLOCATIONS.load(Ordering::SeqCst) - before;
    assert!(loss.is_finite(), "the loss is {loss}");
    assert_eq!(n_steps, warm_up + N_STEPS);
    assert_eq!(allocated, 0, "allocations in {N_STEPS} steps");
    // The counter counts: otherwise the assertion above could not fail.
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    drop(std::hint::black_box(vec![1u8; 100]));
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before);
}
