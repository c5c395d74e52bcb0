//! The thread pool. A job runs on one of the pool's own threads and splits from there by `rayon::join`, which allocates nothing.
//!
//! `ThreadPool::install` from outside allocates a queue block now and then, so one worker waits here for jobs instead.

use crate::error::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// This thread's number, for scratch of its own. Kernels call nothing of rayon, so no thread begins a task within another.
pub(super) fn own_place() -> usize {
    rayon::current_thread_index().expect("kernels run inside the pool")
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

    #[test]
    fn jobs_run_inside_and_panics_come_back() {
        let pool = Pool::new(2).unwrap();
        let mut inside = None;
        pool.run(&mut || inside = Some(rayon::current_num_threads()));
        assert_eq!(inside, Some(2));
        let panic = catch_unwind(AssertUnwindSafe(|| pool.run(&mut || panic!("broken"))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"broken"));
        let mut again = false;
        pool.run(&mut || again = true);
        assert!(again);
    }
}
