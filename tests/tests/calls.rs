//! Calls through the whole engine, of functions in a language whose objects are integers: what
//! `docs/freshness.md` says, without Python and without sleeping.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use retainit_core::codecs::Codecs;
use retainit_core::flight::{Flight, Flights, Landing};
use retainit_core::format::Format;
use retainit_core::freshness::Rules;
use retainit_core::function::{Identity, Policy};
use retainit_core::language::{Bytes, Caller, Dumped, Language, Payload, Stamp};
use retainit_core::load::{Life, Load};
use retainit_core::loader::{Kind, Registry};
use retainit_core::pipeline::{self, Mode};
use retainit_core::sdk::Value;
use retainit_core::tier::{CallKey, Tier};
use retainit_core::{change, clock, entry, Error, Function, Instance, Result};
use retainit_plugin_api::abi::value::{self as raw, RefTable};
use retainit_tests::cargo_plugin;

const SECOND: i64 = 1_000_000_000;

/// The process's clock stands still while this is held: by one test at a time.
struct Clock(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Clock {
    fn stop() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        clock::freeze();
        Clock(one)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        clock::thaw();
    }
}

fn advance(nanoseconds: i64) {
    clock::advance(Duration::from_nanos(nanoseconds as u64));
}

// --- the language --------------------------------------------------------------------------------

/// What a function raises.
#[derive(Debug, Clone, PartialEq)]
enum Fault {
    Failed,
    TimedOut,
    Refused,
    Cache(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Cache(error.to_string())
    }
}

type Outcome = std::result::Result<i64, Fault>;

/// A kept integer, and its stamp.
type Kept = (i64, Stamp);

static KEPT: RefTable = RefTable { retain: retain_kept, release: release_kept };

unsafe extern "C" fn retain_kept(owner: *mut c_void) {
    // SAFETY: of an `Arc` that the caller holds.
    unsafe { Arc::increment_strong_count(owner.cast::<Kept>()) };
}

unsafe extern "C" fn release_kept(owner: *mut c_void) {
    // SAFETY: as above, and the caller gives its reference up.
    drop(unsafe { Arc::from_raw(owner.cast::<Kept>()) });
}

/// Nothing is turned into bytes here.
enum Never {}

impl AsRef<[u8]> for Never {
    fn as_ref(&self) -> &[u8] {
        match *self {}
    }
}

impl Bytes for Never {
    fn value(&self) -> Option<&Value> {
        match *self {}
    }
}

/// A cached function and all that call it.
struct World {
    flights: Arc<Flights<Outcome>>,
    function: Arc<Function>,
    key: CallKey,
    tiers: Vec<Arc<Instance>>,
    runs: AtomicUsize,
    waits: AtomicUsize,
    background: Mutex<Vec<JoinHandle<()>>>,
}

/// One call. Its function gives what `result` does.
#[derive(Clone)]
struct Call {
    world: &'static World,
    result: Arc<dyn Fn() -> Outcome + Send + Sync>,
}

impl Language for Call {
    type Object = i64;
    type Bytes = Never;

    fn hold(&self, object: &i64, stamp: &Stamp) -> Value {
        let owner = Arc::into_raw(Arc::new((*object, stamp.clone()))).cast_mut().cast();
        let kept =
            raw::Value { ptr: ptr::null(), len: 8, owner, table: &KEPT, kind: raw::OBJECT, reserved: 0 };
        // SAFETY: the `Arc`'s reference goes with it.
        unsafe { Value::from_raw(kept) }
    }

    fn take(&self, handle: Value) -> Option<(i64, Option<Stamp>)> {
        // SAFETY: made by `hold`, whose tiers are this function's alone; the handle is held meanwhile.
        let (object, stamp) = unsafe { &*handle.as_raw().owner.cast::<Kept>() };
        Some((*object, Some(stamp.clone())))
    }

    fn dump(&self, _: &i64, _: &Format) -> Result<Dumped<Never>> {
        unreachable!("its tiers keep objects")
    }

    fn load(&self, _: &str, _: u16, _: Payload, _: &Format) -> Result<i64> {
        unreachable!("its tiers keep objects")
    }

    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }
}

impl Caller for Call {
    type Error = Fault;
    type Shared = Outcome;

    fn lead(&self, _: &Arc<Flight<Outcome>>) {}

    fn run(&self, _: &Arc<Flight<Outcome>>) -> Outcome {
        self.world.runs.fetch_add(1, SeqCst);
        (self.result)()
    }

    fn run_alone(&self) -> Outcome {
        unreachable!("no call waits for itself here")
    }

    fn life(&self, _: &i64) -> Result<Life> {
        Ok(Life::Own)
    }

    fn is_failure(&self, error: &Fault) -> bool {
        *error == Fault::Failed
    }

    fn kept_error(&self, _: &Fault) -> Option<(i64, Life)> {
        None
    }

    fn timed_out(&self, refused: bool) -> Fault {
        if refused {
            Fault::Refused
        } else {
            Fault::TimedOut
        }
    }

    fn background(&self, load: Load<Outcome>) -> Option<Load<Outcome>> {
        let call = self.clone();
        // What it comes to, those get who wait for it.
        let work = move || drop(pipeline::carry_on(&call.world.flights, &call, load));
        self.world.background.lock().unwrap().push(thread::spawn(work));
        None
    }

    fn share(&self, outcome: &Outcome) -> Arc<Outcome> {
        Arc::new(outcome.clone())
    }

    fn unshare(&self, shared: &Outcome) -> Outcome {
        shared.clone()
    }

    fn holding(&self) -> Vec<Arc<Flight<Outcome>>> {
        Vec::new()
    }

    fn may_block(&self) -> bool {
        true
    }

    fn pause(&self, pause: Duration) -> std::result::Result<(), Fault> {
        thread::park_timeout(pause);
        Ok(())
    }

    fn wait(
        &self,
        flight: &Flight<Outcome>,
        limit: Duration,
    ) -> std::result::Result<Option<Landing<Outcome>>, Fault> {
        self.world.waits.fetch_add(1, SeqCst);
        Ok(flight.wait(limit))
    }
}

/// A run that goes on until it is told what it gives.
struct Held {
    begun: Receiver<()>,
    result: Sender<Outcome>,
}

impl World {
    /// A function with one tier in memory for each of `ttls`. It is never dropped, because threads have it.
    fn new(rules: Rules, in_thread: bool, ttls: &[i64]) -> (&'static World, Clock) {
        static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
            let registry = Registry::new();
            registry.add_file(cargo_plugin("memory"), None).unwrap();
            registry
        });
        let clock = Clock::stop();
        let policy = Policy { rules, in_thread, ..Policy::default() };
        let function = Function::new(Identity::default(), policy);
        let format = Arc::new(Format {
            codecs: Arc::new(Codecs::new(&REGISTRY)),
            compression: None,
            seal: entry::Seal::default(),
            choice: Arc::new(()),
        });
        let memory = REGISTRY.component(Kind::Backend, "memory").unwrap();
        let open = |_| memory.open_backend("it", &serde_json::json!({})).unwrap();
        let tiers: Vec<_> = ttls.iter().map(open).collect();
        let tier = |(instance, ttl): (&Arc<Instance>, &i64)| {
            Tier::new(instance.clone(), format.clone(), *ttl, &function, "", "")
        };
        function.set_tiers(tiers.iter().zip(ttls).map(tier).collect());
        let key = CallKey::new(&function, b"k", true);
        let world = Box::leak(Box::new(World {
            flights: Arc::default(),
            function,
            key,
            tiers,
            runs: AtomicUsize::new(0),
            waits: AtomicUsize::new(0),
            background: Mutex::default(),
        }));
        (world, clock)
    }

    fn call(&'static self, result: impl Fn() -> Outcome + Send + Sync + 'static) -> Call {
        Call { world: self, result: Arc::new(result) }
    }

    /// Calls the function, which gives `outcome`.
    fn get(&'static self, outcome: Outcome) -> Outcome {
        self.ask(&self.call(move || outcome.clone()))
    }

    fn ask(&self, call: &Call) -> Outcome {
        pipeline::call(&self.flights, &self.function, call, &self.key, Mode::Read)
    }

    /// Calls the function, which does not return before it is told what.
    fn hold(&'static self) -> (Call, Held) {
        let (begins, begun) = channel();
        let (result, results) = channel();
        let results = Mutex::new(results);
        let call = self.call(move || {
            begins.send(()).unwrap();
            results.lock().unwrap().recv().unwrap()
        });
        (call, Held { begun, result })
    }

    /// Waits for what goes on in the background.
    fn finish(&self) {
        let threads = std::mem::take(&mut *self.background.lock().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn runs(&self) -> usize {
        self.runs.swap(0, SeqCst)
    }

    fn stale(&self) -> u64 {
        self.function.counters.stale.load(SeqCst)
    }

    fn invalidate(&'static self) {
        let call = self.call(|| Err(Fault::Failed));
        change::delete(&self.flights, &self.function, &call, &self.key).unwrap();
    }

    /// Nothing is left of the loads.
    fn settle(&self) {
        assert!(self.flights.is_empty());
        assert_eq!(self.function.strays(), 0);
    }
}

fn hard() -> Rules {
    Rules { hard_timeout: 5 * SECOND, ..Rules::default() }
}

// --- what calls get ------------------------------------------------------------------------------

#[test]
fn a_stale_value_is_served_while_one_run_replaces_it_and_nobody_waits() {
    let rules = Rules { stale_ttl: 30 * SECOND, ..Rules::default() };
    let (world, _clock) = World::new(rules, false, &[10 * SECOND]);
    assert_eq!((world.get(Ok(1)), world.get(Ok(2)), world.runs()), (Ok(1), Ok(1), 1));
    advance(10 * SECOND);
    let (call, held) = world.hold();
    assert_eq!(world.ask(&call), Ok(1));
    held.begun.recv().unwrap();
    for _ in 0..3 {
        assert_eq!(world.get(Ok(9)), Ok(1), "beside the refresh");
    }
    assert_eq!((world.waits.load(SeqCst), world.stale()), (0, 4));
    held.result.send(Ok(2)).unwrap();
    world.finish();
    assert_eq!((world.get(Ok(9)), world.runs()), (Ok(2), 1));
    advance(10 * SECOND + 30 * SECOND);
    assert_eq!((world.get(Ok(3)), world.stale()), (Ok(3), 4), "it is good for nothing any more");
    world.settle();
}

#[test]
fn a_fallback_is_served_where_the_function_fails_and_a_pause_spares_it() {
    let rules = Rules { stale_if_error: 60 * SECOND, ..Rules::default() };
    let (world, _clock) = World::new(rules, false, &[10 * SECOND]);
    assert_eq!((world.get(Ok(1)), world.runs()), (Ok(1), 1));
    advance(10 * SECOND);
    assert_eq!((world.get(Err(Fault::Failed)), world.runs()), (Ok(1), 1));
    assert_eq!((world.get(Ok(2)), world.runs()), (Ok(1), 0), "in the pause");
    advance(SECOND);
    assert_eq!((world.get(Err(Fault::Failed)), world.runs()), (Ok(1), 1));
    advance(SECOND);
    assert_eq!((world.get(Ok(2)), world.runs()), (Ok(1), 0), "the second pause is twice as long");
    assert_eq!(world.stale(), 4);
    world.invalidate();
    assert_eq!(world.get(Err(Fault::Failed)), Err(Fault::Failed), "nothing invalidated is served");
    assert_eq!(world.get(Ok(3)), Ok(3), "a pause never delays who has nothing to be served");
    world.settle();
}

#[test]
fn a_run_beyond_the_hard_timeout_frees_its_callers_and_is_stored_in_the_grace_period() {
    let (world, _clock) = World::new(hard(), true, &[60 * SECOND]);
    for (late, kept) in [(SECOND, true), (5 * SECOND, false)] {
        let (call, held) = world.hold();
        let caller = thread::spawn(move || world.ask(&call));
        held.begun.recv().unwrap();
        advance(5 * SECOND);
        assert_eq!(caller.join().unwrap(), Err(Fault::TimedOut));
        assert_eq!(world.function.strays(), 1);
        advance(late);
        held.result.send(Ok(7)).unwrap();
        world.finish();
        assert_eq!(world.function.strays(), 0);
        let expected = if kept { 7 } else { 8 };
        world.runs();
        assert_eq!((world.get(Ok(8)), world.runs()), (Ok(expected), usize::from(!kept)));
        world.finish();
        world.invalidate();
    }
    world.settle();
}

#[test]
fn a_stray_overwrites_neither_a_newer_value_nor_an_invalidation() {
    let (world, _clock) = World::new(hard(), true, &[60 * SECOND]);
    for invalidated in [false, true] {
        let (call, held) = world.hold();
        let caller = thread::spawn(move || world.ask(&call));
        held.begun.recv().unwrap();
        advance(5 * SECOND);
        assert_eq!(caller.join().unwrap(), Err(Fault::TimedOut));
        let other = if invalidated {
            world.invalidate();
            3
        } else {
            assert_eq!(world.get(Ok(2)), Ok(2));
            2
        };
        held.result.send(Ok(1)).unwrap();
        world.finish();
        assert_eq!(world.get(Ok(other)), Ok(other));
        world.finish();
        world.invalidate();
    }
    world.settle();
}

#[test]
fn a_soft_timeout_serves_the_fallback_and_the_run_goes_on() {
    let rules = Rules { soft_timeout: SECOND, stale_if_error: 60 * SECOND, ..Rules::default() };
    let (world, _clock) = World::new(rules, true, &[10 * SECOND]);
    assert_eq!(world.get(Ok(1)), Ok(1));
    world.finish();
    advance(10 * SECOND);
    let (call, held) = world.hold();
    let caller = thread::spawn(move || world.ask(&call));
    held.begun.recv().unwrap();
    advance(SECOND);
    assert_eq!(caller.join().unwrap(), Ok(1));
    held.result.send(Ok(2)).unwrap();
    world.finish();
    world.runs();
    assert_eq!((world.get(Ok(3)), world.runs()), (Ok(2), 0));
    world.settle();
}

#[test]
fn what_is_invalidated_while_it_is_loaded_reaches_its_callers_and_no_tier() {
    let (world, _clock) = World::new(Rules::default(), false, &[10 * SECOND, 60 * SECOND]);
    let (call, held) = world.hold();
    let caller = thread::spawn(move || world.ask(&call));
    held.begun.recv().unwrap();
    world.invalidate();
    held.result.send(Ok(1)).unwrap();
    assert_eq!(caller.join().unwrap(), Ok(1));
    assert_eq!(world.get(Ok(2)), Ok(2));
    world.settle();
}

#[test]
fn a_farther_tier_fills_the_nearer_one_and_its_value_lives_no_longer() {
    let (world, _clock) = World::new(Rules::default(), false, &[10 * SECOND, 15 * SECOND]);
    assert_eq!(world.get(Ok(1)), Ok(1));
    advance(10 * SECOND);
    world.runs();
    assert_eq!((world.get(Ok(2)), world.runs()), (Ok(1), 0), "from the farther one");
    assert!(world.tiers[1].delete(world.key.local()).unwrap());
    assert_eq!((world.get(Ok(2)), world.runs()), (Ok(1), 0), "from the nearer one");
    advance(5 * SECOND);
    assert_eq!((world.get(Ok(2)), world.runs()), (Ok(2), 1), "its time was over in both");
    world.settle();
}

#[test]
fn too_many_runs_that_were_given_up_keep_the_function_from_running() {
    let (world, _clock) = World::new(hard(), true, &[60 * SECOND]);
    let mut held = Vec::new();
    loop {
        let (call, run) = world.hold();
        let caller = thread::spawn(move || world.ask(&call));
        // A call that is refused drops what would have said that its run begins.
        if run.begun.recv().is_err() {
            assert_eq!(caller.join().unwrap(), Err(Fault::Refused));
            break;
        }
        advance(5 * SECOND);
        assert_eq!(caller.join().unwrap(), Err(Fault::TimedOut));
        held.push(run.result);
    }
    assert_eq!((held.len(), world.function.strays()), (32, 32));
    held.drain(..).for_each(|run| run.send(Err(Fault::Failed)).unwrap());
    world.finish();
    assert_eq!(world.get(Ok(1)), Ok(1));
    world.finish();
    world.settle();
}
