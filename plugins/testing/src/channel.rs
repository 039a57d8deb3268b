//! What instances of one name share: entries, script and record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use retainit_plugin_api::sdk::{Error, Host, Result, NEVER};

use super::config::MAX_CALLS;
use super::map::Map;
use super::record::{Record, Records};
use super::rule::{Active, Outcome, Rule};

/// How long to wait before the host's clock is looked at again: nobody is woken when a test moves it.
const GLANCE: Duration = Duration::from_millis(2);

/// What is behind the lock, under which no host is called but for its clock.
#[derive(Debug)]
struct State {
    rules: Vec<Active>,
    records: Records,
    waiting: usize,
    instances: usize,
    /// Grows with each release; who waits ends when it does.
    released: u64,
}

/// Entries, script and record.
#[derive(Debug)]
pub struct Channel {
    state: Mutex<State>,
    changed: Condvar,
    /// Entries of instances that share them.
    entries: Arc<Mutex<Map>>,
}

/// A call, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The operation.
    pub operation: &'static str,
    /// Its keys, prefix or name.
    pub keys: &'a [&'a [u8]],
    /// Time to live, where there is one.
    pub ttl: Option<i64>,
    /// When it should be over.
    pub deadline: i64,
}

/// A call that is under way; over when it is dropped.
#[derive(Debug)]
pub struct Begun<'a> {
    channel: &'a Channel,
    number: u64,
    /// Whether a read is to give what nobody stored.
    pub is_garbage: bool,
    /// Whether there is to be a second answer.
    pub is_twice: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.channel.lock().records.answer(self.number);
        self.channel.changed.notify_all();
    }
}

impl Channel {
    fn new(max_calls: usize) -> Self {
        let records = Records::new(max_calls);
        let state = State { rules: Vec::new(), records, waiting: 0, instances: 0, released: 0 };
        Channel { state: Mutex::new(state), changed: Condvar::new(), entries: Arc::default() }
    }

    /// Entries of instances that share them.
    pub fn entries(&self) -> Arc<Mutex<Map>> {
        Arc::clone(&self.entries)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, max_calls: usize) {
        let mut state = self.lock();
        state.instances += 1;
        state.records.bound(max_calls);
    }

    /// An instance was closed. Entries go with the last one, for they may be objects of the host.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.instances -= 1;
        let is_last = state.instances == 0;
        drop(state);
        if is_last {
            let map = std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
            drop(map);
        }
    }

    /// Puts a call on record and does what the script says, up to the answer.
    ///
    /// # Errors
    /// The script says that it fails.
    ///
    /// # Panics
    /// The script says so.
    pub fn begin(&self, host: Host, asked: Asked<'_>) -> Result<Begun<'_>> {
        let (now, time) = (host.monotonic(), host.unix_time());
        let mut state = self.lock();
        let outcome = state.rules.iter_mut().find_map(|rule| rule.follow(asked.operation, asked.keys));
        state.rules.retain(|rule| !rule.is_over());
        let number = state.records.push(Record {
            operation: asked.operation,
            keys: asked.keys.iter().map(|key| key.to_vec()).collect(),
            ttl: asked.ttl,
            time,
            outcome: outcome.as_ref().map_or("proper", Outcome::name),
            answered: false,
        });
        let mut begun = Begun { channel: self, number, is_garbage: false, is_twice: false };
        self.changed.notify_all();
        let Some(outcome) = outcome else {
            drop(state);
            return Ok(begun);
        };
        match outcome {
            Outcome::Delay { seconds } => drop(self.wait(state, host, after(now, seconds))),
            Outcome::Late { seconds } => {
                let due = if asked.deadline == NEVER { now } else { asked.deadline };
                drop(self.wait(state, host, after(due, seconds)));
            }
            Outcome::Hang => drop(self.wait(state, host, NEVER)),
            // What is left is done without the lock, which `begun` takes when it is over.
            _ => drop(state),
        }
        match outcome {
            Outcome::Fail { kind, message } => return Err(Error::new(kind.kind(), message)),
            Outcome::Panic => panic!("as the script says"),
            Outcome::Garbage => begun.is_garbage = true,
            Outcome::Twice => begun.is_twice = true,
            Outcome::Delay { .. } | Outcome::Late { .. } | Outcome::Hang => {}
        }
        Ok(begun)
    }

    /// Waits until `due` on the host's clock, or for a release.
    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>, host: Host, due: i64) -> MutexGuard<'a, State> {
        let released = state.released;
        state.waiting += 1;
        self.changed.notify_all();
        while state.released == released && host.monotonic() < due {
            state = self.changed.wait_timeout(state, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting -= 1;
        state
    }

    /// Adds a rule behind those there are.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(Active::new(rule));
    }

    /// Has every call that waits go on.
    pub fn release(&self) {
        self.lock().released += 1;
        self.changed.notify_all();
    }

    /// Forgets all rules and has every call that waits go on.
    pub fn restore(&self) {
        self.lock().rules.clear();
        self.release();
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.lock().records.forget();
    }

    /// The calls so far, and how many of them wait for time to pass or a release.
    pub fn recorded(&self) -> serde_json::Value {
        let state = self.lock();
        serde_json::json!({"calls": state.records.describe(), "waiting": state.waiting})
    }

    /// Waits until at least `calls` calls of `operation` are on record and `waiting` calls wait, for at most
    /// `patience` of real time; whether it came to that.
    pub fn until(&self, operation: &str, calls: usize, waiting: usize, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.records.count(operation) >= calls && state.waiting >= waiting {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn after(moment: i64, seconds: f64) -> i64 {
    // At most 1e18, which fits.
    moment.saturating_add((seconds * 1e9) as i64)
}

/// The channels of one process, by component and name.
struct Table {
    process: u32,
    channels: Mutex<BTreeMap<(String, String), Arc<Channel>>>,
}

/// Never freed: the child of a fork leaves the parent's alone, whose locks may be held by threads that it has
/// not got.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());

impl Table {
    fn of_this_process() -> &'static Table {
        let process = std::process::id();
        loop {
            let current = TABLE.load(Ordering::Acquire);
            // SAFETY: null, or leaked below.
            if let Some(table) = unsafe { current.as_ref() }.filter(|table| table.process == process) {
                return table;
            }
            let fresh = Box::into_raw(Box::new(Table { process, channels: Mutex::default() }));
            if TABLE.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

/// The channel `name` of `component`, made if there is none.
pub fn find(component: &str, name: &str) -> Arc<Channel> {
    let mut channels = Table::of_this_process().channels.lock().unwrap_or_else(PoisonError::into_inner);
    let channel = channels.entry((component.to_owned(), name.to_owned()));
    channel.or_insert_with(|| Arc::new(Channel::new(MAX_CALLS))).clone()
}

/// The channel of an instance of `component`: one of its own without a name.
pub fn open(component: &str, name: Option<&str>, max_calls: usize) -> Arc<Channel> {
    let channel = name.map_or_else(|| Arc::new(Channel::new(max_calls)), |name| find(component, name));
    channel.enter(max_calls);
    channel
}

/// Forgets a channel's name; its instances keep it.
pub fn close(component: &str, name: &str) {
    let mut channels = Table::of_this_process().channels.lock().unwrap_or_else(PoisonError::into_inner);
    let channel = channels.remove(&(component.to_owned(), name.to_owned()));
    drop(channels);
    if let Some(channel) = channel {
        channel.restore();
    }
}
