//! Who waits for a lease in this process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::Thread;

use crate::fork;
use crate::instance::Instance;
use crate::lock::Mutex;

/// How whoever waits is told to try again.
pub enum Wake {
    /// A thread that is parked.
    Thread(Thread),
    /// A function, called on the thread that gave the lease back, without locks; perhaps more than once.
    Call(Box<dyn Fn() + Send + Sync>),
}

struct Waiter {
    wake: Wake,
    /// Whether it was woken and has not been served since.
    woken: AtomicBool,
}

/// An instance and a name.
type Subject = (usize, Box<[u8]>);

struct Queue {
    /// Forks between the first process and the one that the entries are of.
    generation: u64,
    waiting: BTreeMap<Subject, VecDeque<Arc<Waiter>>>,
}

/// Taken inside the gate of [`fork`], so that no thread of a parent holds it in a child.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { generation: 0, waiting: BTreeMap::new() });

/// A place in the queue for one lease. Who leaves without having been served, although it was woken,
/// wakes the next.
pub struct Place {
    subject: Subject,
    waiter: Arc<Waiter>,
    generation: u64,
}

impl Place {
    /// Joins the queue for the lease `name` of `instance`.
    pub fn new(instance: &Instance, name: &[u8], wake: Wake) -> Self {
        let subject = (instance.number(), name.into());
        let waiter = Arc::new(Waiter { wake, woken: AtomicBool::new(false) });
        with(|queue| queue.waiting.entry(clone(&subject)).or_default().push_back(Arc::clone(&waiter)));
        Place { subject, waiter, generation: fork::generation() }
    }

    /// Leaves with the lease in hand.
    pub fn served(self) {
        self.waiter.woken.store(false, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let next = with(|queue| {
            let waiting = queue.waiting.get_mut(&self.subject)?;
            waiting.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
            let next = waiting.front().cloned();
            if next.is_none() {
                queue.waiting.remove(&self.subject);
            }
            next
        });
        if let (Some(next), true) = (next, self.waiter.woken.load(Ordering::Acquire)) {
            next.rouse();
        }
    }
}

/// Tells who waited longest for the lease that it was given back.
pub fn wake(instance: &Instance, name: &[u8]) {
    let subject = (instance.number(), name.into());
    let first = with(|queue| queue.waiting.get(&subject)?.front().cloned());
    if let Some(first) = first {
        first.rouse();
    }
}

impl Waiter {
    fn rouse(&self) {
        self.woken.store(true, Ordering::Release);
        match &self.wake {
            Wake::Thread(thread) => thread.unpark(),
            Wake::Call(call) => call(),
        }
    }
}

/// Does something with the queue. Nothing that it owns may be dropped, or run, inside.
fn with<R>(work: impl FnOnce(&mut Queue) -> R) -> R {
    let _inside = fork::enter();
    let mut queue = QUEUE.lock();
    if queue.generation != fork::generation() {
        // Who waited does not exist here; what it is woken with may belong to its thread.
        std::mem::forget(std::mem::take(&mut queue.waiting));
        queue.generation = fork::generation();
    }
    work(&mut queue)
}

fn clone(subject: &Subject) -> Subject {
    (subject.0, subject.1.clone())
}
