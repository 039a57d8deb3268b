//! Threads of the host that run what may take longer than anybody wants to wait.
//!
//! Started when there is work and nobody idle, ended when there was none for a while. What one of them
//! is stuck in is stuck for itself alone: others are started beside it, up to [`MOST`].

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use crate::lock::Mutex;

/// Threads of one backend.
const MOST: usize = 64;
/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Pool {
    jobs: VecDeque<Job>,
    idle: Vec<Thread>,
    threads: usize,
}

/// The threads of one backend.
#[derive(Default)]
pub(super) struct Helpers(Arc<Mutex<Pool>>);

impl Helpers {
    /// Runs `job` as soon as a thread is free.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut pool = self.0.lock();
        pool.jobs.push_back(Box::new(job));
        if let Some(idle) = pool.idle.pop() {
            drop(pool);
            idle.unpark();
            return;
        }
        if pool.threads >= MOST {
            return;
        }
        pool.threads += 1;
        drop(pool);
        let shared = self.0.clone();
        let started = thread::Builder::new().name("retainit-helper".to_owned()).spawn(move || work(&shared));
        if started.is_err() {
            // The job waits for another thread; whoever waits for it has a deadline.
            self.0.lock().threads -= 1;
        }
    }

    /// Takes the lock for the time of a `fork`.
    pub(super) fn lock_for_fork(&self) {
        std::mem::forget(self.0.lock());
    }

    /// Gives back what [`Helpers::lock_for_fork`] took. A child has none of the threads.
    ///
    /// # Safety
    /// The calling thread must have called [`Helpers::lock_for_fork`], once.
    pub(super) unsafe fn unlock_after_fork(&self, child: bool) {
        // SAFETY: the lock is held by this thread's forgotten guard.
        let mut pool = unsafe { self.0.make_guard_unchecked() };
        if child {
            // The parent's jobs and threads are not the child's to drop.
            std::mem::forget(std::mem::take(&mut *pool));
        }
    }
}

fn work(pool: &Mutex<Pool>) {
    let mut tired = false;
    loop {
        let mut state = pool.lock();
        let me = thread::current().id();
        state.idle.retain(|idle| idle.id() != me);
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            tired = false;
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(target: "retainit::plugin", "a helper thread's work panicked");
            }
            continue;
        }
        if tired {
            state.threads -= 1;
            return;
        }
        state.idle.push(thread::current());
        drop(state);
        let start = std::time::Instant::now();
        thread::park_timeout(IDLE);
        tired = start.elapsed() >= IDLE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_run_beside_one_that_is_stuck_and_threads_are_used_again() {
        let helpers = Helpers::default();
        let (free, stuck) = channel::<()>();
        helpers.run(move || {
            let _ = stuck.recv();
        });
        let (sender, receiver) = channel();
        for number in 0..100 {
            let sender = sender.clone();
            helpers.run(move || sender.send(number).unwrap());
            assert_eq!(receiver.recv().unwrap(), number);
        }
        let threads = helpers.0.lock().threads;
        assert!(threads < 50, "{threads} threads for one job at a time");
        drop(free);
    }

    #[test]
    fn a_panic_ends_one_job_and_no_thread() {
        let helpers = Helpers::default();
        helpers.run(|| panic!("deliberate"));
        let (sender, receiver) = channel();
        helpers.run(move || sender.send(()).unwrap());
        receiver.recv().unwrap();
    }

    #[test]
    fn more_jobs_than_threads_wait_and_are_run() {
        let helpers = Helpers::default();
        let (sender, receiver) = channel();
        let gate = Arc::new(std::sync::Barrier::new(MOST + 1));
        for _ in 0..MOST {
            let gate = gate.clone();
            helpers.run(move || {
                gate.wait();
            });
        }
        helpers.run(move || sender.send(()).unwrap());
        assert!(receiver.try_recv().is_err() && helpers.0.lock().threads == MOST);
        gate.wait();
        receiver.recv().unwrap();
    }
}
