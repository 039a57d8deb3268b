//! Operations in flight: which pending call waits for which completion.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc, Condvar, PoisonError};
use std::time::Duration;

use retainit_plugin_api::abi::call::{Item, Outcome};
use retainit_plugin_api::abi::status;
use retainit_plugin_api::sdk::Value;

use crate::clock;
use crate::lock::Mutex;

/// At most so many operations are in flight in one instance; beyond it, calls are refused as busy.
pub const LIMIT: usize = 4096;

/// The outcome of a pending operation, with every reference in it owned.
#[derive(Debug)]
pub struct Completion {
    /// As a synchronous call would have returned.
    pub status: i32,
    /// Items: their values are owned by `values`, index for index.
    pub items: Vec<Item>,
    /// The references of `items`.
    pub values: Vec<Value>,
    /// The number.
    pub number: i64,
    /// The text, or no value.
    pub text: Value,
}

// SAFETY: the raw values inside `items` are the ones that `values` owns, which may cross threads.
unsafe impl Send for Completion {}

impl Completion {
    /// Takes over the references of `outcome`.
    ///
    /// # Safety
    /// `outcome` must be valid, with `item_count` valid items, and give its references up.
    unsafe fn take(outcome: &Outcome) -> Self {
        let items: Vec<Item> = if outcome.item_count == 0 || outcome.items.is_null() {
            Vec::new()
        } else {
            // SAFETY: promised by the caller.
            unsafe { std::slice::from_raw_parts(outcome.items, outcome.item_count) }.to_vec()
        };
        // SAFETY: each reference is given up by the caller and owned once, here.
        let values = items.iter().map(|item| unsafe { Value::from_raw(item.value) }).collect();
        Completion {
            status: if outcome.status == status::PENDING { status::INVALID } else { outcome.status },
            items,
            values,
            number: outcome.number,
            // SAFETY: as above.
            text: unsafe { Value::from_raw(outcome.text) },
        }
    }
}

/// Who is told: a function that runs on the completing thread, outside our locks.
type Waiter = Box<dyn FnOnce(Completion) + Send>;
/// Who is told that an answer came after its caller had given up: as a waiter, but with the
/// status alone.
pub(crate) type Late = Box<dyn FnOnce(i32) + Send>;

struct Slot {
    /// Which life of the slot it is; part of the id.
    generation: u32,
    waiter: Option<Waiter>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The last operations that were given up before their completion came, so that it is known for
    /// late rather than taken for a duplicate.
    abandoned: VecDeque<(u64, Option<Late>)>,
}

/// The operations in flight of one instance.
///
/// An id is the generation (upper half), a number of the instance and the slot (16 bits each), so it
/// is unique in the process and never zero, and a completion that comes twice or late finds a newer
/// generation and is counted instead of being mistaken for another's.
pub struct Operations {
    instance: u16,
    slots: Mutex<Slots>,
    duplicates: AtomicU64,
    late: AtomicU64,
}

impl Operations {
    /// No operations, of the instance numbered `instance`.
    pub(crate) const fn new(instance: u16) -> Self {
        Operations {
            instance,
            slots: Mutex::new(Slots { slots: Vec::new(), free: Vec::new(), abandoned: VecDeque::new() }),
            duplicates: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    /// Registers a waiter; `None` where too many are registered.
    pub(crate) fn begin(&self, waiter: Waiter) -> Option<u64> {
        let mut slots = self.slots.lock();
        let index = match slots.free.pop() {
            Some(index) => index,
            None if slots.slots.len() < LIMIT => {
                slots.slots.push(Slot { generation: 1, waiter: None });
                (slots.slots.len() - 1) as u32
            }
            None => return None,
        };
        let slot = &mut slots.slots[index as usize];
        slot.waiter = Some(waiter);
        Some(u64::from(slot.generation) << 32 | u64::from(self.instance) << 16 | u64::from(index))
    }

    /// The call answered at once: no completion is wanted. Returns whether one was still to come.
    pub(crate) fn withdraw(&self, op: u64) -> bool {
        self.retire(op, None).is_some()
    }

    /// The caller gave up: should the completion still come, `late` is called. Returns whether it was
    /// still to come.
    pub(crate) fn abandon(&self, op: u64, late: Option<Late>) -> bool {
        self.retire(op, Some(late)).is_some()
    }

    /// Whether somebody waits for `op`.
    pub(crate) fn is_awaited(&self, op: u64) -> bool {
        let slots = self.slots.lock();
        let slot = self.index(op).and_then(|index| slots.slots.get(index as usize));
        slot.is_some_and(|slot| slot.generation == (op >> 32) as u32 && slot.waiter.is_some())
    }

    /// A plugin completes `op`.
    ///
    /// # Safety
    /// See [`Completion::take`].
    pub(crate) unsafe fn complete(&self, op: u64, outcome: &Outcome) {
        // Owned first, so that the references of an ignored outcome are released as well.
        // SAFETY: promised by the caller.
        self.deliver(op, unsafe { Completion::take(outcome) });
    }

    /// Gives `completion` to the waiter of `op`, or counts and releases it. Both run outside the lock:
    /// a waiter is the engine's code, a release the plugin's.
    pub(crate) fn deliver(&self, op: u64, completion: Completion) {
        let status = completion.status;
        if let Some(waiter) = self.retire(op, None) {
            waiter(completion);
            return;
        }
        let Some(late) = self.was_abandoned(op) else {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.late.fetch_add(1, Ordering::Relaxed);
        if let Some(late) = late {
            late(status);
        }
    }

    /// Starts counting anew, for the next instance that uses this table.
    pub(crate) fn reset_counters(&self) {
        self.duplicates.store(0, Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
    }

    /// Operations in flight.
    pub(crate) fn in_flight(&self) -> usize {
        let slots = self.slots.lock();
        slots.slots.len() - slots.free.len()
    }

    /// Completions that came a second time, or that nobody asked for.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Completions that came after their caller had given up.
    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Forgets everything in flight: in a forked child nobody waits, and nobody completes.
    pub(crate) fn forget_all(&self) {
        let waiters: Vec<Waiter> = {
            let mut slots = self.slots.lock();
            let Slots { slots, free, .. } = &mut *slots;
            let taken = slots.iter_mut().enumerate().filter_map(|(index, slot)| {
                let waiter = slot.waiter.take()?;
                slot.generation = slot.generation.wrapping_add(1).max(1);
                free.push(index as u32);
                Some(waiter)
            });
            taken.collect()
        };
        // A waiter may own locks' worth of state of threads that do not exist here: never run it.
        waiters.into_iter().for_each(std::mem::forget);
    }

    /// Takes the lock for the time of a `fork`, so that no other thread holds it in the child.
    pub(crate) fn lock_for_fork(&self) {
        std::mem::forget(self.slots.lock());
    }

    /// Gives back what [`Operations::lock_for_fork`] took, in parent or child.
    ///
    /// # Safety
    /// The calling thread must have called [`Operations::lock_for_fork`], once.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the lock is held by this thread's forgotten guard.
        unsafe { self.slots.force_unlock() }
    }

    fn retire(&self, op: u64, abandoned: Option<Option<Late>>) -> Option<Waiter> {
        // What falls out is dropped after the lock is gone.
        let _forgotten;
        let mut slots = self.slots.lock();
        let index = self.index(op)?;
        let slot = slots.slots.get_mut(index as usize)?;
        if slot.generation != (op >> 32) as u32 {
            return None;
        }
        let waiter = slot.waiter.take()?;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slots.free.push(index);
        if let Some(late) = abandoned {
            if slots.abandoned.len() == LIMIT {
                _forgotten = slots.abandoned.pop_front();
            }
            slots.abandoned.push_back((op, late));
        }
        Some(waiter)
    }

    fn was_abandoned(&self, op: u64) -> Option<Option<Late>> {
        let mut slots = self.slots.lock();
        let position = slots.abandoned.iter().position(|(abandoned, _)| *abandoned == op);
        // Late once; a second completion of the same operation is a duplicate.
        position.and_then(|position| slots.abandoned.remove(position)).map(|(_, late)| late)
    }

    fn index(&self, op: u64) -> Option<u32> {
        ((op >> 16) as u16 == self.instance).then_some(u32::from(op as u16))
    }
}

/// A thread that waits for one completion.
pub(crate) struct Blocking(sync::Mutex<Option<Completion>>, Condvar);

impl Blocking {
    /// The waiting side, and the waiter to register.
    pub(crate) fn new() -> (Arc<Self>, Waiter) {
        let blocking = Arc::new(Blocking(sync::Mutex::new(None), Condvar::new()));
        let told = Arc::clone(&blocking);
        let waiter = Box::new(move |completion| {
            *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(completion);
            told.1.notify_one();
        });
        (blocking, waiter)
    }

    /// Waits until `deadline` on the host's clock; `None` when it passed.
    pub(crate) fn wait(&self, deadline: i64) -> Option<Completion> {
        // A frozen clock moves when a test says so, which wakes nobody: look at it now and then.
        const GLANCE: Duration = Duration::from_millis(5);
        let mut completion = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while completion.is_none() {
            let left = deadline.saturating_sub(clock::monotonic());
            if left <= 0 {
                return None;
            }
            let left = Duration::from_nanos(left as u64);
            let left = if clock::is_frozen() { GLANCE } else { left };
            completion = self.1.wait_timeout(completion, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        completion.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retainit_plugin_api::abi::value;
    use std::ffi::c_void;

    fn outcome(number: i64) -> Outcome {
        Outcome {
            status: status::OK,
            reserved: 0,
            items: std::ptr::null(),
            item_count: 0,
            number,
            text: value::Value::NONE,
        }
    }

    fn complete(operations: &Operations, op: u64, outcome: &Outcome) {
        // SAFETY: the outcomes of these tests own what they hold.
        unsafe { operations.complete(op, outcome) }
    }

    #[test]
    fn a_completion_reaches_its_waiter_once() {
        let operations = Operations::new(7);
        let (blocking, waiter) = Blocking::new();
        let op = operations.begin(waiter).unwrap();
        assert_eq!(operations.in_flight(), 1);
        complete(&operations, op, &outcome(5));
        complete(&operations, op, &outcome(6));
        assert_eq!(blocking.wait(i64::MAX).unwrap().number, 5);
        assert_eq!((operations.duplicates(), operations.late(), operations.in_flight()), (1, 0, 0));
    }

    #[test]
    fn a_completion_after_giving_up_is_late_and_then_a_duplicate() {
        let operations = Operations::new(7);
        let op = operations.begin(Box::new(|_| panic!("nobody waits"))).unwrap();
        assert!(operations.abandon(op, None));
        // Its slot is used again before the late completion comes.
        complete(&operations, operations.begin(Box::new(drop)).unwrap(), &outcome(1));
        complete(&operations, op, &outcome(1));
        complete(&operations, op, &outcome(1));
        assert_eq!((operations.duplicates(), operations.late()), (1, 1));
    }

    #[test]
    fn a_reused_slot_is_not_completed_by_an_old_id() {
        let operations = Operations::new(7);
        let first = operations.begin(Box::new(|_| {})).unwrap();
        complete(&operations, first, &outcome(1));
        let (blocking, waiter) = Blocking::new();
        let second = operations.begin(waiter).unwrap();
        assert_ne!(first, second);
        complete(&operations, first, &outcome(1));
        complete(&operations, second, &outcome(2));
        assert_eq!(blocking.wait(i64::MAX).unwrap().number, 2);
        assert_eq!(operations.duplicates(), 1);
    }

    #[test]
    fn ids_of_another_instance_or_of_nothing_are_ignored() {
        let operations = Operations::new(7);
        let other = Operations::new(8).begin(Box::new(|_| {})).unwrap();
        for op in [0, other, u64::MAX] {
            complete(&operations, op, &outcome(1));
        }
        assert_eq!(operations.duplicates(), 3);
    }

    #[test]
    fn in_flight_work_is_bounded() {
        let operations = Operations::new(1);
        for _ in 0..LIMIT {
            operations.begin(Box::new(|_| {})).unwrap();
        }
        assert!(operations.begin(Box::new(|_| {})).is_none());
    }

    #[test]
    fn references_of_an_ignored_outcome_are_released() {
        static RELEASED: AtomicU64 = AtomicU64::new(0);
        unsafe extern "C" fn retain(_: *mut c_void) {}
        unsafe extern "C" fn release(_: *mut c_void) {
            RELEASED.fetch_add(1, Ordering::Relaxed);
        }
        static TABLE: value::RefTable = value::RefTable { retain, release };
        let counted = value::Value { table: &TABLE, kind: value::BYTES, ..value::Value::NONE };
        let items = [Item { value: counted, ..Item::EMPTY }, Item::EMPTY];
        let outcome = Outcome { items: items.as_ptr(), item_count: 2, text: counted, ..outcome(0) };
        complete(&Operations::new(1), 1 << 32, &outcome);
        assert_eq!(RELEASED.load(Ordering::Relaxed), 2);
    }
}
