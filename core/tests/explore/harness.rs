//! Runs a scenario in many schedules, and counts them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use retainit_core::clock;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{thread, Config, MaxSteps, Runner};

/// Schedules of a scenario, unless `RETAINIT_EXPLORE_ITERATIONS` says otherwise.
const ITERATIONS: usize = 1000;
/// Preemptions at most in a schedule of the second half.
const DEPTH: usize = 3;
/// Far beyond what any scenario takes: more is one that gets nowhere.
const MAX_STEPS: usize = 20_000;
/// Bytes of a thread's stack.
const STACK: usize = 1 << 17;

/// What has been explored.
#[derive(Default)]
struct Seen {
    schedules: usize,
    distinct: HashSet<u64>,
    decisions: u64,
    current: DefaultHasher,
}

/// A scheduler whose decisions are counted.
struct Counted<S> {
    inner: S,
    seen: Arc<Mutex<Seen>>,
}

impl<S: Scheduler> Scheduler for Counted<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let mut seen = self.seen.lock().unwrap();
        let last = std::mem::take(&mut seen.current).finish();
        seen.distinct.insert(last);
        let next = self.inner.new_execution();
        seen.schedules += usize::from(next.is_some());
        next
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let next = self.inner.next_task(runnable, current, yields);
        let mut seen = self.seen.lock().unwrap();
        seen.decisions += u64::from(runnable.len() > 1);
        next.map(usize::from).hash(&mut seen.current);
        next
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}

/// Runs `scenario` in many schedules. One at a time, because the clock, which stands still, is the process's.
pub fn explore(name: &str, scenario: fn()) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    clock::freeze();
    let iterations = match std::env::var("RETAINIT_EXPLORE_ITERATIONS") {
        Ok(text) => text.parse().expect("`RETAINIT_EXPLORE_ITERATIONS` is a number"),
        Err(_) => ITERATIONS,
    };
    let seen = Arc::new(Mutex::new(Seen::default()));
    let half = iterations / 2;
    run(RandomScheduler::new(iterations - half), &seen, scenario);
    run(PctScheduler::new(DEPTH, half), &seen, scenario);
    let seen = seen.lock().unwrap();
    // Before the first execution there was an empty one.
    let distinct = seen.distinct.len() - 1;
    println!(
        "explored: {name}: {} schedules, {distinct} of them distinct, {} decisions",
        seen.schedules, seen.decisions
    );
}

fn run(inner: impl Scheduler + 'static, seen: &Arc<Mutex<Seen>>, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    Runner::new(Counted { inner, seen: seen.clone() }, config).run(scenario);
}

/// Runs all of `threads`, and waits for them.
pub fn together(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let running: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    running.into_iter().for_each(|thread| thread.join().unwrap());
}
