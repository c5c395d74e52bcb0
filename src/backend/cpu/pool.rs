//! The thread pool. A job runs on one of the pool's own threads and splits from there by `rayon::join`, which allocates nothing.
//!
//! Work is cut into more tasks than there are threads, as far as it goes, and each is taken by whichever thread is free: cores differ, by
//! their kind or by what else runs on them. Left alone, rayon hands out a part of the tasks at a time, which a slow core then keeps to
//! itself. So where tasks multiply, threads take them one by one ([`for_each`]), and passes over images, where a thread's tasks should be
//! neighbours, say `with_max_len(1)`.
//!
//! `ThreadPool::install` from outside allocates a queue block now and then, so one worker waits here for jobs instead.

use crate::error::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// This thread's number, for scratch of its own. Kernels call nothing of rayon, so no thread begins a task within another.
pub(super) fn own_place() -> usize {
    rayon::current_thread_index().expect("kernels run inside the pool")
}

/// Runs `task` for every number below `n`. They are begun in this order, each by the next thread that is free.
pub(super) fn for_each(n: usize, task: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    on_threads(rayon::current_num_threads().min(n), &|| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return;
            }
            task(i);
        }
    });
}

/// Runs `work` on up to `n` threads at once: on fewer where they are busy.
fn on_threads(n: usize, work: &(impl Fn() + Sync)) {
    if n <= 1 {
        return work();
    }
    rayon::join(|| on_threads(n / 2, work), || on_threads(n - n / 2, work));
}

/// A pool with a worker that waits for jobs.
pub(super) struct Pool {
    pool: rayon::ThreadPool,
    desk: Arc<Desk>,
}

/// Where jobs are handed over.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

enum State {
    Idle,
    Posted(Job),
    Running,
    Done(std::result::Result<(), Box<dyn Any + Send>>),
    Closed,
}

/// A borrowed closure. The poster waits until it has run.
struct Job(*mut (dyn FnMut() + Send));

// SAFETY: the closure is `Send`, and its owner does not touch it before the job is done.
unsafe impl Send for Job {}

impl Pool {
    /// Starts `threads` threads (0: as many as cores).
    ///
    /// # Errors
    /// If the operating system refuses threads.
    pub fn new(threads: usize) -> Result<Pool> {
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("cpu-{i}")).build().map_err(|e| {
                Error::device("cannot start the threads of the CPU backend").caused_by(e).remedy("use fewer --threads")
            })?;
        // A thread allocates when it starts, which must not happen between the steps of a run: wait for all of them.
        pool.broadcast(|_| ());
        let desk = Arc::new(Desk { state: Mutex::new(State::Idle), changed: Condvar::new() });
        let served = Arc::clone(&desk);
        pool.spawn(move || served.serve());
        Ok(Pool { pool, desk })
    }

    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `job` inside the pool and waits for it. Called from inside the pool, it runs right here.
    pub fn run(&self, job: &mut (dyn FnMut() + Send)) {
        if self.pool.current_thread_index().is_some() {
            return job();
        }
        // SAFETY: only the lifetime is erased; this function does not return before the job has run.
        let job = Job(unsafe { std::mem::transmute::<*mut (dyn FnMut() + Send), *mut (dyn FnMut() + Send + 'static)>(job) });
        let mut state = self.desk.wait_until(|s| matches!(s, State::Idle));
        *state = State::Posted(job);
        drop(state);
        self.desk.changed.notify_all();
        let mut state = self.desk.wait_until(|s| matches!(s, State::Done(_)));
        let done = std::mem::replace(&mut *state, State::Idle);
        drop(state);
        self.desk.changed.notify_all();
        if let State::Done(Err(panic)) = done {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        *self.desk.lock() = State::Closed;
        self.desk.changed.notify_all();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, reached: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |s| !reached(s)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs jobs until the pool is dropped.
    fn serve(&self) {
        loop {
            let mut state = self.wait_until(|s| matches!(s, State::Posted(_) | State::Closed));
            let State::Posted(job) = std::mem::replace(&mut *state, State::Running) else {
                *state = State::Closed;
                return;
            };
            drop(state);
            // SAFETY: the poster keeps the closure alive and untouched until the state is `Done`.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*job.0)() }));
            *self.lock() = State::Done(result);
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn jobs_run_inside_and_panics_come_back() {
        let pool = Pool::new(2).unwrap();
        let mut inside = None;
        pool.run(&mut || inside = Some(rayon::current_num_threads()));
        assert_eq!(inside, Some(2));
        let panic = catch_unwind(AssertUnwindSafe(|| pool.run(&mut || panic!("broken"))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"broken"));
        // Whichever thread runs the task.
        for broken in [0, 31] {
            let tasks = AssertUnwindSafe(|| {
                pool.run(&mut || {
                    for_each(32, |i| {
                        std::thread::sleep(Duration::from_millis(1));
                        assert_ne!(i, broken);
                    });
                });
            });
            assert!(catch_unwind(tasks).is_err(), "task {broken}");
        }
        let mut again = false;
        pool.run(&mut || again = true);
        assert!(again);
    }

    #[test]
    fn every_task_runs_once() {
        let pool = Pool::new(3).unwrap();
        for n in [0, 1, 2, 3, 1000] {
            let runs: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            pool.run(&mut || {
                for_each(n, |i| {
                    assert!(own_place() < 3);
                    runs[i].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1), "{n} tasks");
        }
    }

    /// A thread that is held up by one task keeps no other task to itself.
    #[test]
    fn a_slow_task_holds_no_other_up() {
        let pool = Pool::new(2).unwrap();
        let (n, done, start) = (64, AtomicUsize::new(0), Instant::now());
        pool.run(&mut || {
            for_each(n, |i| {
                // The first task waits for all others, which none of them could end if it waited for the first.
                while i == 0 && done.load(Ordering::Relaxed) < n - 1 && start.elapsed() < Duration::from_secs(60) {
                    std::thread::yield_now();
                }
                if i == 0 {
                    assert_eq!(done.load(Ordering::Relaxed), n - 1, "tasks done beside the first");
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        });
    }
}
