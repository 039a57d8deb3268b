//! Answers from threads of the backend's own: one for each call, so that one that hangs holds up no other.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use retainit_plugin_api::abi::call::{Call as RawCall, Outcome};
use retainit_plugin_api::abi::host::HostRef;
use retainit_plugin_api::abi::value::Value as RawValue;
use retainit_plugin_api::sdk::{Backend, Call, Completer, Error, ErrorKind, Host, Request, Result};

/// Most calls under way; more are refused as `Busy`.
const MOST: usize = 256;

thread_local! {
    /// Whether the call that this thread works on is to be answered once more.
    static TWICE: Cell<bool> = const { Cell::new(false) };
}

/// Has the call that this thread works on answered once more.
pub fn answer_twice() {
    TWICE.set(true);
}

/// The threads that are at work.
#[derive(Debug, Default)]
pub struct Threads(Arc<(Mutex<usize>, Condvar)>);

/// One thread's share in the count.
struct Working(Arc<(Mutex<usize>, Condvar)>);

fn lock(count: &Mutex<usize>) -> MutexGuard<'_, usize> {
    count.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Working {
    fn drop(&mut self) {
        *lock(&self.0 .0) -= 1;
        self.0 .1.notify_all();
    }
}

impl Threads {
    /// Answers on a thread of its own.
    pub fn answer<B: Backend>(
        &self,
        host: Host,
        call: &Call<'_>,
        backend: B,
        request: Request,
        completer: Completer,
    ) {
        let mut count = lock(&self.0 .0);
        if *count >= MOST {
            drop(count);
            return completer.complete(Err(Error::new(ErrorKind::Busy, "too many calls are under way")));
        }
        *count += 1;
        drop(count);
        let working = Working(Arc::clone(&self.0));
        let (now, deadline) = (call.now(), call.deadline());
        let work = move || {
            // Dropped last, when nothing uses the host any more.
            let _working = working;
            let backend = backend;
            let raw = RawCall { op: 0, now, deadline, error: std::ptr::null_mut() };
            let op = completer.op();
            TWICE.set(false);
            let reply = request.answer(&backend, &Call::new(&raw));
            completer.complete(reply);
            if TWICE.get() {
                answer_again(host, op);
            }
        };
        // What could not be started drops its completer, which answers that.
        drop(std::thread::Builder::new().name("retainit-testing".to_owned()).spawn(work));
    }

    /// Waits for all of them, for at most `patience`.
    ///
    /// # Errors
    /// `Timeout`: some are still at work.
    pub fn finish(&self, patience: Option<Duration>) -> Result<()> {
        let end = patience.map(|patience| Instant::now() + patience);
        let mut count = lock(&self.0 .0);
        while *count > 0 {
            let left =
                end.map_or(Duration::from_secs(1), |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Timeout, "calls are still under way"));
            }
            count = self.0 .1.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits for all of them.
    pub fn join(&self) {
        // Without a bound there is nothing to report.
        let _ = self.finish(None);
    }

    /// Whether none is at work.
    pub fn are_idle(&self) -> bool {
        *lock(&self.0 .0) == 0
    }
}

/// Breaks the contract on purpose: a second completion of the same operation, as a success without content.
fn answer_again(host: Host, op: u64) {
    let outcome = Outcome {
        status: 0,
        reserved: 0,
        items: std::ptr::null(),
        item_count: 0,
        number: 7,
        text: RawValue::NONE,
    };
    // SAFETY: `Host` is transparent over the reference, and valid until the instance is dropped, which waits
    // for this thread; the outcome holds no references.
    unsafe {
        let host = std::mem::transmute::<Host, HostRef>(host);
        ((*host.table).complete)(host.context, op, &outcome);
    }
}
