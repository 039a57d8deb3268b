//! The thread that renews what is held, and says what was lost.
//!
//! One thread for all leases of the process looks at the time. It starts with the first lease and ends a
//! while after the last. What may block, it does not do itself: the leases of a backend that are due are
//! renewed by a thread of their own, one for each backend at a time, so that one backend that hangs delays
//! neither the renewals of another nor the news that its own leases are lost.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::capability;

use super::{Held, LATE};
use crate::lock::Mutex;
use crate::{clock, fork};

/// How long the thread stays when nothing is held, and how long it sleeps at most.
const LINGER: Duration = Duration::from_secs(1);
/// As long as a test holds the clock, whose moves wake nobody.
const GLANCE: Duration = Duration::from_millis(5);

struct Table {
    /// Forks between the first process and the one that all of this is of.
    generation: u64,
    /// By when to look at them again, and their address, so that no two are the same.
    due: BTreeMap<(i64, usize), Arc<Held>>,
    /// When each is due, by address.
    when: BTreeMap<usize, i64>,
    /// Instances whose leases are being renewed, and those that have become due meanwhile.
    renewing: BTreeMap<usize, Vec<Arc<Held>>>,
    thread: Option<Thread>,
    /// Until when the thread sleeps.
    wakes: i64,
    /// Whether it found nothing held before it went to sleep.
    idle: bool,
}

impl Table {
    const EMPTY: Table = Table {
        generation: 0,
        due: BTreeMap::new(),
        when: BTreeMap::new(),
        renewing: BTreeMap::new(),
        thread: None,
        wakes: 0,
        idle: false,
    };

    fn schedule(&mut self, held: &Arc<Held>, at: i64) {
        let address = Arc::as_ptr(held).addr();
        if let Some(before) = self.when.insert(address, at) {
            self.due.remove(&(before, address));
        }
        self.due.insert((at, address), Arc::clone(held));
    }

    fn is_kept(&self, held: &Arc<Held>) -> bool {
        self.when.contains_key(&Arc::as_ptr(held).addr())
    }

    /// What is to be renewed at `now`, which is looked at again when it is lost, and what is lost.
    fn take_due(&mut self, now: i64) -> (Vec<Arc<Held>>, Vec<Arc<Held>>) {
        let (mut due, mut lost) = (Vec::new(), Vec::new());
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, address), held) = first.remove_entry();
            let lost_at = held.expires.load(Ordering::Acquire);
            if lost_at > now {
                self.when.insert(address, lost_at);
                self.due.insert((lost_at, address), Arc::clone(&held));
                due.push(held);
            } else {
                self.when.remove(&address);
                lost.push(held);
            }
        }
        (due, lost)
    }
}

/// Taken inside the gate of [`fork`], so that no thread of a parent holds it in a child.
static TABLE: Mutex<Table> = Mutex::new(Table::EMPTY);

/// Does something with the table. Nothing that it owns may be dropped inside.
fn with<R>(work: impl FnOnce(&mut Table) -> R) -> R {
    let _inside = fork::enter();
    let mut table = TABLE.lock();
    if table.generation != fork::generation() {
        // The parent's leases are the parent's, and its threads are not here.
        let parents = std::mem::replace(&mut *table, Table::EMPTY);
        std::mem::forget(parents);
        table.generation = fork::generation();
    }
    work(&mut table)
}

/// Renews `held`, asked for at `started`, from now on; `false` if there can be no thread for it.
pub(super) fn keep(held: &Arc<Held>, started: i64) -> bool {
    let at = started.saturating_add(held.ttl / 3);
    with(|table| {
        if table.thread.is_none() {
            let spawned = thread::Builder::new().name("retainit-leases".to_owned()).spawn(run);
            match spawned {
                Ok(handle) => table.thread = Some(handle.thread().clone()),
                Err(_) => return false,
            }
        }
        table.schedule(held, at);
        if let Some(thread) = table.thread.as_ref().filter(|_| at < table.wakes || clock::is_frozen()) {
            thread.unpark();
        }
        true
    })
}

/// Does not renew it any more.
pub(super) fn forget(held: &Held) {
    let address = std::ptr::from_ref(held).addr();
    // Dropped outside.
    let _removed = with(|table| {
        let at = table.when.remove(&address)?;
        table.due.remove(&(at, address))
    });
}

/// All that is held.
pub(super) fn all() -> Vec<Arc<Held>> {
    with(|table| table.due.values().cloned().collect())
}

fn run() {
    loop {
        let now = clock::monotonic();
        let longest = if clock::is_frozen() { GLANCE } else { LINGER };
        let (due, lost, sleep) = with(|table| {
            let (due, lost) = table.take_due(now);
            let next = table.due.first_key_value().map(|((at, _), _)| *at);
            if next.is_none() && table.idle {
                (table.thread, table.idle) = (None, false);
                return (due, lost, None);
            }
            table.idle = next.is_none();
            let left = next.map(|at| Duration::from_nanos(at.saturating_sub(now).max(0) as u64));
            let sleep = left.map_or(LINGER, |left| left.min(longest));
            table.wakes = now.saturating_add(sleep.as_nanos() as i64);
            (due, lost, Some(sleep))
        });
        let is_busy = !due.is_empty();
        lost.iter().for_each(|held| held.lose(LATE));
        drop(lost);
        for held in due {
            if held.instance.has(capability::INLINE) {
                renew(&held);
            } else {
                renew_elsewhere(held);
            }
        }
        match sleep {
            // Renewing may have taken a while.
            Some(_) if is_busy => {}
            Some(sleep) => thread::park_timeout(sleep),
            None => return,
        }
    }
}

fn renew(held: &Arc<Held>) {
    let at = held.renew();
    let at = if at == NEVER { NEVER } else { at.min(held.expires.load(Ordering::Acquire)) };
    let _removed = with(|table| {
        if !table.is_kept(held) {
            // Given back meanwhile, or lost.
            return None;
        }
        if at != NEVER {
            table.schedule(held, at);
            return None;
        }
        let address = Arc::as_ptr(held).addr();
        let at = table.when.remove(&address)?;
        table.due.remove(&(at, address))
    });
}

/// Has `held` renewed by the thread that renews the leases of its instance, which may have to be started.
fn renew_elsewhere(held: Arc<Held>) {
    let number = held.instance.number();
    let is_new = with(|table| match table.renewing.entry(number) {
        Entry::Occupied(mut others) => {
            others.get_mut().push(held);
            false
        }
        Entry::Vacant(free) => {
            free.insert(vec![held]);
            true
        }
    });
    if !is_new {
        return;
    }
    let work = move || {
        while let Some(all) = next_of(number) {
            all.iter().for_each(renew);
        }
    };
    if thread::Builder::new().name("retainit-renewal".to_owned()).spawn(work).is_err() {
        // They are looked at again when they are lost; until then another may become due, and start one.
        let _given_up = with(|table| table.renewing.remove(&number));
        tracing::warn!("no thread can be started to renew leases");
    }
}

/// What is to be renewed next of an instance; with nothing left its thread ends.
fn next_of(number: usize) -> Option<Vec<Arc<Held>>> {
    with(|table| match table.renewing.entry(number) {
        Entry::Occupied(mut waiting) if !waiting.get().is_empty() => Some(std::mem::take(waiting.get_mut())),
        Entry::Occupied(done) => {
            done.remove();
            None
        }
        Entry::Vacant(_) => None,
    })
}
