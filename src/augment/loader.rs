//! Batches prepared ahead of the step by worker threads, in order, in a ring of buffers.

use super::batch::{Batch, Buffers, RawBatch};
use super::config::AugmentConfig;
use super::prepare::{Normalization, Prepared};
use super::sampler::{Address, Sampler};
use crate::dataset::Sample;
use crate::error::{Error, Result};
use crate::ops::augment::Pictures;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// What is to be prepared, in order: (epoch, sample index) pairs, `batch` at a time.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    pub batch: usize,
    /// Width and height of the network's input.
    pub size: [usize; 2],
    pub seed: u64,
    pub workers: usize,
    /// `None`: letterbox only (validation).
    pub augment: Option<AugmentConfig>,
    pub normalization: Normalization,
    /// Output channels of the network; see [`Prepared::new`].
    pub channels: usize,
}

/// Prepares batches ahead of the step in worker threads, in the order asked for, in buffers that are used again and again.
pub struct Loader<B: Buffers = Batch> {
    shared: Arc<Shared<B>>,
    workers: Vec<JoinHandle<()>>,
    /// The batch that the caller holds, and its ticket.
    current: B,
    taken: u64,
    host_bytes: usize,
}

struct Shared<B> {
    prepared: Vec<Prepared>,
    options: LoaderOptions,
    state: Mutex<State<B>>,
    /// Work, or the end, has come.
    work: Condvar,
    /// A batch is ready, a worker has started, or one failed.
    ready: Condvar,
}

/// Batches are numbered by tickets from 0; ticket t lies in slot t mod depth, so a slot is free for t when t < taken + depth.
struct State<B> {
    /// What comes next, a multiple of `batch` long; `None` is padding.
    order: VecDeque<Option<(u32, usize)>>,
    /// Tickets handed to workers so far; those taken by the caller.
    started: u64,
    taken: u64,
    slots: Vec<Slot<B>>,
    /// Workers that have started.
    n_running: usize,
    is_closed: bool,
    failure: Option<String>,
}

struct Slot<B> {
    batch: B,
    is_ready: bool,
}

impl Loader {
    /// Prepares the samples (in parallel) and starts the workers.
    ///
    /// # Errors
    /// If a range of the augmentation is wrong, a sample cannot be seen at this size, or threads cannot be started.
    pub fn new(samples: Arc<Vec<Sample>>, options: LoaderOptions) -> Result<Loader> {
        let n_pixels = options.size[0] * options.size[1];
        let n = options.batch;
        Loader::prepare(&samples, options, || Batch::new(n, n_pixels))
    }
}

impl Loader<RawBatch> {
    /// As [`Loader::new`], for a device that augments by itself: with what [`Pictures::of`] says of the same samples.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn raw(samples: Arc<Vec<Sample>>, options: LoaderOptions, pictures: &Pictures) -> Result<Loader<RawBatch>> {
        let n = options.batch;
        Loader::prepare(&samples, options, || RawBatch::new(pictures, n))
    }
}

impl<B: Buffers> Loader<B> {
    fn prepare(samples: &[Sample], options: LoaderOptions, batch: impl Fn() -> B) -> Result<Self> {
        if let Some(augment) = &options.augment {
            augment.validate()?;
        }
        Prepared::check(samples, options.size)?;
        let prepared = prepare_all(samples, &options, options.workers.max(1))?;
        Loader::start(prepared, options, batch)
    }

    /// Starts the workers on prepared samples; `batch` makes buffers.
    fn start(prepared: Vec<Prepared>, options: LoaderOptions, batch: impl Fn() -> B) -> Result<Self> {
        let [width, height] = options.size;
        assert!(options.batch > 0 && width > 0 && height > 0, "batches of something");
        let n_workers = options.workers.max(1);
        // One batch for each worker to fill, and one ready for the caller.
        let depth = n_workers + 1;
        let slots: Vec<Slot<B>> = (0..depth).map(|_| Slot { batch: batch(), is_ready: false }).collect();
        let sampler = Sampler::new(options.size, options.augment.clone(), options.normalization);
        let current = batch();
        let host_bytes =
            (depth + 1) * current.bytes() + n_workers * sampler.bytes() + prepared.iter().map(Prepared::bytes).sum::<usize>();
        let state = State { order: VecDeque::new(), started: 0, taken: 0, slots, n_running: 0, is_closed: false, failure: None };
        let (work, ready) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { prepared, options, state: Mutex::new(state), work, ready });
        let mut loader = Loader { shared, workers: Vec::new(), current, taken: 0, host_bytes };
        for i in 0..n_workers {
            let (shared, sampler) = (loader.shared.clone(), sampler.clone());
            let thread = std::thread::Builder::new().name(format!("loader-{i}"));
            let worker = thread.spawn(move || shared.run(sampler));
            loader.workers.push(worker.map_err(|e| Error::run("cannot start a loader thread").caused_by(e))?);
        }
        loader.shared.wait_for_workers(n_workers);
        Ok(loader)
    }

    /// Appends what comes next: for each image its epoch (an address of the random numbers) and its sample. Batches are cut from it
    /// in order; a last short batch is padded with weight 0.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn enqueue(&mut self, order: &[(u32, usize)]) {
        let n_samples = self.shared.prepared.len();
        assert!(order.iter().all(|&(_, sample)| sample < n_samples), "indices into {n_samples} samples");
        let mut state = self.shared.lock();
        state.order.extend(order.iter().copied().map(Some));
        let padded = state.order.len().next_multiple_of(self.shared.options.batch);
        state.order.resize(padded, None);
        drop(state);
        self.shared.work.notify_all();
    }

    /// The next batch, waiting for it if need be; valid until the next call. `None` when the order is used up.
    ///
    /// # Errors
    /// If a worker panicked, with its message.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Result<Option<&B>> {
        let mut state = self.shared.lock();
        let slot = loop {
            if let Some(failure) = &state.failure {
                return Err(Error::run(format!("a loader thread failed: {failure}")));
            }
            if state.order.is_empty() && state.started == self.taken {
                return Ok(None);
            }
            let slot = (self.taken % state.slots.len() as u64) as usize;
            if state.slots[slot].is_ready {
                break slot;
            }
            state = self.shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let slot = &mut state.slots[slot];
        slot.is_ready = false;
        std::mem::swap(&mut slot.batch, &mut self.current);
        self.taken += 1;
        state.taken = self.taken;
        drop(state);
        self.shared.work.notify_all();
        Ok(Some(&self.current))
    }

    /// Bytes of all host buffers, for the memory receipt.
    pub fn host_bytes(&self) -> usize {
        self.host_bytes
    }
}

impl<B: Buffers> Drop for Loader<B> {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its panics itself; there is nothing left to report here.
            let _ = worker.join();
        }
    }
}

impl<B: Buffers> Shared<B> {
    /// A panic while the lock was held is reported as a failure, so the poison says nothing new.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread allocates when it starts, the standard library for it too; waited for here, it does not do so between steps.
    fn wait_for_workers(&self, n_workers: usize) {
        let mut state = self.lock();
        while state.n_running < n_workers {
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker's life.
    fn run(&self, mut sampler: Sampler) {
        let mut items = Vec::with_capacity(self.options.batch);
        self.lock().n_running += 1;
        self.ready.notify_all();
        while let Some((ticket, mut batch)) = self.take(&mut items) {
            let filled = catch_unwind(AssertUnwindSafe(|| self.fill(&mut sampler, &items, &mut batch)));
            let mut state = self.lock();
            if let Err(panic) = filled {
                state.failure = Some(panic_message(panic.as_ref()));
                state.is_closed = true;
                self.work.notify_all();
            }
            let slot = (ticket % state.slots.len() as u64) as usize;
            state.slots[slot] = Slot { batch, is_ready: true };
            drop(state);
            self.ready.notify_all();
        }
    }

    /// Waits for the next batch's items and its free buffer; `None` at the end.
    fn take(&self, items: &mut Vec<Option<(u32, usize)>>) -> Option<(u64, B)> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let depth = state.slots.len() as u64;
            if !state.order.is_empty() && state.started < state.taken + depth {
                let ticket = state.started;
                state.started += 1;
                items.clear();
                items.extend(state.order.drain(..self.options.batch));
                let slot = &mut state.slots[(ticket % depth) as usize];
                return Some((ticket, std::mem::take(&mut slot.batch)));
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fill(&self, sampler: &mut Sampler, items: &[Option<(u32, usize)>], batch: &mut B) {
        batch.samples().clear();
        for (i, item) in items.iter().enumerate() {
            let at = |(epoch, sample): (u32, usize)| {
                (&self.prepared[sample], Address { seed: self.options.seed, epoch, image: sample as u32 })
            };
            batch.set([i, items.len()], sampler, item.map(at));
            batch.samples().extend(item.map(|(_, sample)| sample));
        }
    }
}

/// Prepares all samples, each independently of the others, in as many threads as there will be workers.
fn prepare_all(samples: &[Sample], options: &LoaderOptions, n_threads: usize) -> Result<Vec<Prepared>> {
    let next = AtomicUsize::new(0);
    let cells: Vec<OnceLock<Prepared>> = samples.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let (Some(sample), Some(cell)) = (samples.get(i), cells.get(i)) else { break };
            cell.get_or_init(|| Prepared::new(sample, options.size, options.normalization, options.channels));
        }
    };
    let panicked = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| std::thread::Builder::new().spawn_scoped(scope, work)).collect();
        let mut panicked = None;
        for thread in threads {
            match thread.map(|t| t.join()) {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => {
                    panicked = Some(Error::run(format!("preparing samples failed: {}", panic_message(panic.as_ref()))))
                }
                Err(e) => panicked = Some(Error::run("cannot start a loader thread").caused_by(e)),
            }
        }
        panicked
    });
    match panicked {
        Some(error) => Err(error),
        None => Ok(cells.into_iter().filter_map(OnceLock::into_inner).collect()),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Gray;

    fn options() -> LoaderOptions {
        let normalization = Normalization { mean: 0.0, deviation: 1.0 };
        LoaderOptions { batch: 2, size: [16, 16], seed: 1, workers: 2, augment: None, normalization, channels: 1 }
    }

    fn sample() -> Sample {
        let image = Gray::new(16, 16, (0..256).map(|i| i as f32).collect());
        Sample { series: "s".into(), sub_image: 1, image, instances: Vec::new(), digest: [0; 32] }
    }

    #[test]
    fn a_panic_in_a_worker_is_an_error_with_its_message() {
        let mut broken = Prepared::new(&sample(), [16, 16], options().normalization, 1);
        broken.labels.clear();
        let mut loader = Loader::start(vec![broken], options(), || Batch::new(2, 256)).expect("threads start");
        loader.enqueue(&[(0, 0); 8]);
        let error = (0..4).find_map(|_| loader.next().err()).expect("an error instead of a batch");
        assert!(error.to_string().contains("out of bounds"), "{error}");
    }

    #[test]
    fn dropping_it_in_the_middle_of_the_work_ends_the_threads() {
        let mut loader = Loader::new(Arc::new(vec![sample(); 3]), options()).expect("threads start");
        loader.enqueue(&[(0, 1); 1000]);
        assert!(loader.next().expect("no panic").is_some());
        let shared = Arc::downgrade(&loader.shared);
        drop(loader);
        assert!(shared.upgrade().is_none(), "a thread still holds the loader's state");
    }
}
