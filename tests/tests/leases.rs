//! Leases as users have them: the engine's guard over backends that were loaded from files.
//!
//! The clock is the process's, so the tests take turns.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use retainit_core::codecs::Codecs;
use retainit_core::entry::Seal;
use retainit_core::format::Format;
use retainit_core::function::{Function, Identity, Policy};
use retainit_core::lease::{self, Lease, Place, Wait, Wake, MARGIN, SHORTEST};
use retainit_core::loader::{Kind, Registry};
use retainit_core::sdk::{ErrorKind, Value, NEVER};
use retainit_core::tier::{CallKey, Tier};
use retainit_core::{clock, Instance};
use retainit_tests::{c_plugin, cargo_plugin, fixture, Scratch};

const TTL: i64 = 30_000_000_000;

/// Keeps other tests out, and the clock still until it goes.
struct Still(#[allow(dead_code)] MutexGuard<'static, ()>);

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn still() -> Still {
    let turn = turn();
    clock::freeze();
    Still(turn)
}

impl Drop for Still {
    fn drop(&mut self) {
        clock::thaw();
    }
}

fn pass(seconds: u64) {
    clock::advance(Duration::from_secs(seconds));
}

fn open(path: &Path, name: &str, options: &serde_json::Value) -> Arc<Instance> {
    let registry = Registry::new();
    registry.add_file(path, None).unwrap();
    registry.component(Kind::Backend, name).unwrap().open_backend(name, options).unwrap()
}

/// Each backend with leases, in a scratch directory.
fn backends(scratch: &Scratch) -> [Arc<Instance>; 2] {
    [open(&cargo_plugin("memory"), "memory", &serde_json::json!({})), disk(scratch)]
}

fn disk(scratch: &Scratch) -> Arc<Instance> {
    let options = serde_json::json!({"base_path": scratch.path().join("cache")});
    open(&cargo_plugin("disk"), "disk", &options)
}

fn faulty(mode: &str) -> Arc<Instance> {
    let options = serde_json::json!({ "mode": mode });
    open(&fixture("faulty-rust", "retainit_faulty_rust"), "faulty", &options)
}

fn take(instance: &Arc<Instance>) -> Option<Lease> {
    Lease::try_acquire(instance, b"name", TTL).unwrap()
}

/// Waits for something that another thread does.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_holder_until_it_is_dropped() {
    let _turn = turn();
    let scratch = Scratch::new();
    for instance in backends(&scratch) {
        let first = take(&instance).unwrap();
        assert!(!first.is_lost());
        assert!(take(&instance).is_none());
        let fence = first.fence();
        drop(first);
        let second = take(&instance).unwrap();
        assert!(second.fence() > fence);
        assert!(second.release().unwrap());
        // Let go without waiting.
        take(&instance).unwrap().let_go();
        let third = Lease::acquire(&instance, b"name", TTL, NEVER, || true).unwrap().unwrap();
        assert!(third.give_back());
    }
}

#[test]
fn a_held_lease_is_renewed_however_long_it_takes() {
    let _still = still();
    let scratch = Scratch::new();
    for instance in backends(&scratch) {
        let lease = take(&instance).unwrap();
        for round in 1..=10 {
            pass(10);
            eventually("the lease is renewed", || lease.renewals() == round);
            assert!(!lease.is_lost());
            let left = Duration::from_nanos((lease.expires() - clock::monotonic()) as u64);
            assert_eq!(left, Duration::from_nanos(TTL as u64) - MARGIN);
            assert!(take(&instance).is_none(), "taken after {round} renewals");
        }
        assert!(lease.release().unwrap());
        assert!(take(&instance).is_some());
    }
}

#[test]
fn many_leases_of_several_backends_are_renewed_together() {
    let _still = still();
    let scratch = Scratch::new();
    let backends = backends(&scratch);
    let leases: Vec<Lease> = (0..200_u32)
        .map(|number| {
            let instance = &backends[number as usize % 2];
            Lease::try_acquire(instance, &number.to_le_bytes(), TTL).unwrap().unwrap()
        })
        .collect();
    for round in 1..=3 {
        pass(10);
        eventually("all are renewed", || leases.iter().all(|lease| lease.renewals() == round));
    }
    assert!(leases.iter().all(|lease| !lease.is_lost()));
    assert!(leases.into_iter().all(|lease| lease.release().unwrap()));
}

#[test]
fn a_lease_is_lost_when_its_renewal_comes_too_late_and_stays_lost() {
    let _still = still();
    let scratch = Scratch::new();
    for instance in backends(&scratch) {
        let lease = take(&instance).unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let listener = Arc::clone(&told);
        lease.on_lost(Box::new(move || {
            listener.fetch_add(1, Ordering::SeqCst);
        }));
        // As if the process had been stopped.
        pass(31);
        assert!(lease.is_lost());
        eventually("the listener is told", || told.load(Ordering::SeqCst) == 1);
        let other = take(&instance).unwrap();
        assert!(other.fence() > lease.fence());
        let late = Arc::clone(&told);
        lease.on_lost(Box::new(move || {
            late.fetch_add(10, Ordering::SeqCst);
        }));
        assert_eq!(told.load(Ordering::SeqCst), 11, "who asks later is told at once");
        assert!(!lease.release().unwrap());
        assert!(!other.is_lost(), "the release of a lost lease ended the next one");
        assert!(take(&instance).is_none());
    }
}

#[test]
fn a_lease_is_lost_when_the_backend_gave_it_away() {
    let _still = still();
    let memory = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
    let lease = take(&memory).unwrap();
    // A child's hook: nobody holds anything any more.
    memory.fork_prepare();
    memory.fork_child();
    pass(10);
    eventually("the refused renewal is noticed", || lease.is_lost());
    assert!(clock::monotonic() < lease.expires(), "lost by the backend's word, not by time");
    assert!(!lease.release().unwrap());
}

#[test]
fn a_lease_whose_renewals_fail_is_lost_in_time_and_others_are_not() {
    let _still = still();
    let memory = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
    let good = take(&memory).unwrap();
    let faulty = faulty("panic-in-lease_renew");
    let lease = take(&faulty).unwrap();
    pass(10);
    eventually("the good one is renewed", || good.renewals() == 1);
    assert!(!lease.is_lost(), "a renewal that failed may succeed yet");
    for round in 2..=3 {
        pass(10);
        eventually("the good one is renewed", || good.renewals() == round);
    }
    assert!(lease.is_lost());
    assert_eq!(lease.renewals(), 0);
    assert!(!good.is_lost());
}

#[test]
fn a_release_that_fails_is_an_error_and_no_loss() {
    let _turn = turn();
    let faulty = faulty("panic-in-lease_release");
    assert_eq!(take(&faulty).unwrap().release().unwrap_err().kind(), ErrorKind::Panic);
}

#[test]
fn a_wait_ends_with_a_release_a_deadline_or_the_callers_word() {
    let _turn = turn();
    let scratch = Scratch::new();
    for instance in backends(&scratch) {
        let held = take(&instance).unwrap();
        let soon = clock::monotonic() + 20_000_000;
        assert!(Lease::acquire(&instance, b"name", TTL, soon, || true).unwrap().is_none());
        assert!(clock::monotonic() >= soon);
        let mut asked = 0;
        let waited = Lease::acquire(&instance, b"name", TTL, NEVER, || {
            asked += 1;
            asked < 3
        });
        assert!(waited.unwrap().is_none());
        assert_eq!(asked, 3);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lease::acquire(&instance, b"name", TTL, NEVER, || true));
            assert!(held.release().unwrap());
            assert!(waiting.join().unwrap().unwrap().is_some());
        });
    }
}

#[test]
fn a_wait_by_a_frozen_clock_ends_when_the_clock_is_moved() {
    let _still = still();
    let memory = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
    // Taken past the keeper, as by a process that has died.
    memory.lease_acquire(b"name", TTL).unwrap().unwrap();
    std::thread::scope(|scope| {
        let deadline = clock::monotonic() + 2 * TTL;
        let waiting = scope.spawn(|| Lease::acquire(&memory, b"name", TTL, NEVER, || true));
        let short = scope.spawn(move || {
            let instance = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
            instance.lease_acquire(b"name", 3 * TTL).unwrap().unwrap();
            Lease::acquire(&instance, b"name", TTL, deadline, || true).unwrap().is_none()
        });
        pass(29);
        assert!(!waiting.is_finished() && !short.is_finished());
        pass(2);
        assert!(waiting.join().unwrap().unwrap().is_some());
        pass(30);
        assert!(short.join().unwrap(), "the deadline passed");
    });
}

#[test]
fn threads_take_turns_and_fences_grow() {
    let _turn = turn();
    let scratch = Scratch::new();
    for instance in backends(&scratch) {
        let inside = AtomicUsize::new(0);
        let fences = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let lease = Lease::acquire(&instance, b"name", TTL, NEVER, || true).unwrap().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        fences.lock().unwrap().push(lease.fence());
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        assert!(lease.release().unwrap());
                    }
                });
            }
        });
        let fences = fences.into_inner().unwrap();
        assert_eq!(fences.len(), 200);
        assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
    }
}

#[test]
fn who_waited_longest_is_woken_and_who_leaves_passes_it_on() {
    let _turn = turn();
    let memory = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
    let woken: [Arc<AtomicUsize>; 3] = Default::default();
    let [first, second, third] = woken.clone().map(|count| {
        let call = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        Place::new(&memory, b"name", Wake::Call(Box::new(call)))
    });
    let counts = || woken.clone().map(|count| count.load(Ordering::SeqCst));
    let elsewhere = Lease::try_acquire(&memory, b"other", TTL).unwrap().unwrap();
    drop(elsewhere);
    assert_eq!(counts(), [0, 0, 0]);
    drop(take(&memory));
    assert_eq!(counts(), [1, 0, 0]);
    // Cancelled just then: the next must not wait for a release that has been.
    drop(first);
    assert_eq!(counts(), [1, 1, 0]);
    second.served();
    assert_eq!(counts(), [1, 1, 0]);
    drop(take(&memory));
    assert_eq!(counts(), [1, 1, 1]);
    drop(third);
}

fn tier(instance: Arc<Instance>, function: &Function) -> Tier {
    // For the process, as the engine has it.
    let codecs = Arc::new(Codecs::new(Box::leak(Box::new(Registry::new()))));
    let format = Format { codecs, compression: None, seal: Seal::Checksum, choice: Arc::new(()) };
    Tier::new(instance, Arc::new(format), NEVER, function, "", "")
}

fn function() -> Arc<Function> {
    Function::new(Identity { name: "f".to_owned(), parameters: Vec::new() }, Policy::default())
}

/// Two processes, as far as the store can tell, each of which misses, waits for its turn, and looks again.
#[test]
fn loads_of_two_processes_run_one_at_a_time_and_once_between_them() {
    let _turn = turn();
    let scratch = Scratch::new();
    let (runs, running) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let process = |instance: Arc<Instance>| {
        let function = function();
        let memory = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
        let tiers = [tier(memory, &function), tier(instance, &function)];
        let key = CallKey::new(&function, b"key", true);
        let stored = || tiers[1].instance().read(&tiers[1].key(&key).unwrap()).unwrap().is_some();
        let this = std::thread::current();
        let mut wait = Wait::of_load(&tiers, &key, NEVER, move || Wake::Thread(this.clone())).unwrap();
        loop {
            let lease = wait.attempt().unwrap();
            if stored() {
                return;
            }
            let Some(lease) = lease else {
                std::thread::park_timeout(wait.pause().unwrap());
                continue;
            };
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two run at once");
            runs.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            let value = Value::from_vec(b"value".to_vec());
            tiers[1].instance().set(&tiers[1].key(&key).unwrap(), value, NEVER).unwrap();
            assert!(lease.release().unwrap());
            return;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| process(disk(&scratch)));
        }
    });
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn loads_have_no_lease_where_no_other_process_could_see_their_result() {
    let _turn = turn();
    let scratch = Scratch::new();
    let function = function();
    let [memory, disk] = backends(&scratch).map(|instance| tier(instance, &function));
    let wait = |tiers: &[Tier], portable| {
        let wake = || Wake::Call(Box::new(|| {}));
        Wait::of_load(tiers, &CallKey::new(&function, b"key", portable), NEVER, wake).is_some()
    };
    assert!(wait(&[memory.clone(), disk.clone()], true));
    assert!(wait(&[disk.clone(), memory.clone()], true), "the farthest that has leases for others");
    assert!(!wait(&[memory], true));
    assert!(!wait(&[disk], false), "a key that no other process can know");
    assert!(!wait(&[], true));
}

#[test]
fn what_cannot_be_is_refused() {
    let _turn = turn();
    let memory = open(&cargo_plugin("memory"), "memory", &serde_json::json!({}));
    for ttl in [0, -1, i64::MIN, SHORTEST.as_nanos() as i64 - 1, NEVER] {
        let error = Lease::try_acquire(&memory, b"name", ttl).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{ttl}");
    }
    assert!(Lease::try_acquire(&memory, b"name", SHORTEST.as_nanos() as i64).unwrap().is_some());
    let scratch = Scratch::new();
    let later = open(&c_plugin("later.c", scratch.path(), "later", &[]), "later", &serde_json::json!({}));
    let error = Lease::try_acquire(&later, b"name", TTL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "the backend has no leases (capability `lease`) (backend `later`)");
}

#[test]
fn the_end_of_a_process_gives_everything_back() {
    let _turn = turn();
    let scratch = Scratch::new();
    for instance in backends(&scratch) {
        let lease = take(&instance).unwrap();
        lease::release_all(Duration::ZERO);
        assert!(!lease.is_lost(), "there was no time");
        lease::release_all(Duration::from_secs(2));
        assert!(lease.is_lost());
        let next = take(&instance).unwrap();
        drop(lease);
        assert!(!next.is_lost());
        assert!(take(&instance).is_none(), "a lease was given back twice");
    }
}
