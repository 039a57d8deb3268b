//! One writer at a time within the instance.
//!
//! SQLite lets writers of one process collide and sleep for milliseconds; here they queue, and the
//! next one is woken the moment the gate opens. Between processes SQLite's own lock decides.

use std::sync::{Condvar, Mutex, PoisonError};

use retainit_plugin_api::sdk::Result;

use crate::wait::Wait;

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    waiting: usize,
}

impl Gate {
    /// Passes through the gate; it opens again when the result is dropped. `before_waiting` is called if
    /// somebody else is inside.
    pub fn pass(&self, wait: &Wait, before_waiting: impl FnOnce()) -> Result<Passage<'_>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.taken {
            drop(state);
            before_waiting();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        }
        if state.taken {
            // The first pause starts the clock of the wait.
            let mut in_time = wait.pause_begins();
            while state.taken && in_time {
                state.waiting += 1;
                let (again, timeout) =
                    self.opened.wait_timeout(state, wait.left()).unwrap_or_else(PoisonError::into_inner);
                state = again;
                state.waiting -= 1;
                in_time = !timeout.timed_out();
            }
            if state.taken {
                return Err(wait.over("another write of this process"));
            }
        }
        state.taken = true;
        Ok(Passage(self))
    }
}

/// The right to write.
#[derive(Debug)]
pub struct Passage<'a>(&'a Gate);

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = false;
        let somebody = state.waiting > 0;
        drop(state);
        // Waking nobody would still be a system call.
        if somebody {
            self.0.opened.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_writer_waits_no_longer_than_it_may() {
        let gate = Gate::default();
        let first = gate.pass(&Wait::at_most(Duration::ZERO), || unreachable!()).unwrap();
        let mut told = false;
        let error = gate.pass(&Wait::at_most(Duration::from_millis(5)), || told = true).unwrap_err();
        assert_eq!(error.message(), "waited 5ms for another write of this process");
        assert!(told);
        drop(first);
        gate.pass(&Wait::at_most(Duration::ZERO), || unreachable!()).unwrap();
    }

    #[test]
    fn every_writer_gets_through() {
        let (gate, inside) = (Gate::default(), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _passage = gate.pass(&Wait::at_most(Duration::from_secs(60)), || {}).unwrap();
                        let mut count = inside.try_lock().expect("two writers inside");
                        *count += 1;
                    }
                });
            }
        });
        assert_eq!(*inside.lock().unwrap(), 1600);
    }
}
