//! Loads that are given up, and what is counted of them.

use std::sync::Arc;
use std::time::Duration;

use retainit_core::flight::{Flight, Scope};
use retainit_core::format::Format;
use retainit_core::freshness::Rules;
use retainit_core::function::{Identity, Policy};
use retainit_core::language::{Bytes, Dumped, Language, Payload, Stamp};
use retainit_core::load::{self, Given, Life, Load, Step};
use retainit_core::sdk::Value;
use retainit_core::tier::CallKey;
use retainit_core::{clock, Function, Result};
use shuttle::thread;

use crate::fences::Model;
use crate::harness::{explore, together};

const HARD: Duration = Duration::from_secs(1);

/// A language for functions without tiers.
struct Plain;

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

impl Language for Plain {
    type Object = usize;
    type Bytes = Never;

    fn hold(&self, _: &usize, _: &Stamp) -> Value {
        unreachable!("there is no tier")
    }

    fn take(&self, _: Value) -> Option<(usize, Option<Stamp>)> {
        unreachable!("there is no tier")
    }

    fn dump(&self, _: &usize, _: &Format) -> Result<Dumped<Never>> {
        unreachable!("there is no tier")
    }

    fn load(&self, _: &str, _: u16, _: Payload, _: &Format) -> Result<usize> {
        unreachable!("there is no tier")
    }

    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }
}

/// A function whose loads may take [`HARD`], and what it has stored.
#[derive(Clone)]
struct Timed {
    function: Arc<Function>,
    key: CallKey,
    model: Arc<Model>,
}

impl Timed {
    fn new() -> Self {
        let rules = Rules { hard_timeout: HARD.as_nanos() as i64, ..Rules::default() };
        let function = Function::new(Identity::default(), Policy { rules, ..Policy::default() });
        let key = CallKey::new(&function, b"k", true);
        Timed { model: Model::new(key.local()), function, key }
    }

    fn begin(&self) -> Result<(Load<usize>, usize), Arc<Flight<usize>>> {
        self.model.numbered(|| {
            match Load::begin(&self.model.flights, &self.function, self.key.clone(), false) {
                Step::Load(load) => Ok(load),
                Step::Wait(flight) => Err(flight),
            }
        })
    }

    fn run(&self, load: Load<usize>, number: usize) -> usize {
        load.runs();
        let version = self.model.run();
        load.store(&self.model.flights, &Plain, &version, Life::Own).unwrap();
        self.model.store(load.flight(), version, number);
        load.land(Arc::new(version));
        version
    }

    /// A call: leads, or waits no longer than it may.
    fn call(&self) -> Option<usize> {
        loop {
            let flight = match self.begin() {
                Ok((load, number)) => return Some(self.run(load, number)),
                Err(flight) => flight,
            };
            let landing = loop {
                if load::is_overdue(&self.function, &flight) {
                    load::give_up(&self.model.flights, &self.function, &flight);
                }
                assert!(self.function.strays() >= 0, "more runs have ended than were given up");
                // Time does not wake anybody here.
                match flight.landing() {
                    Some(landing) => break landing,
                    None => thread::yield_now(),
                }
            };
            match load::given(&self.function, &flight, landing, false, true) {
                Given::Shared(version) => return Some(*version),
                Given::TimedOut => return None,
                Given::Found | Given::Nothing => {}
            }
        }
    }

    fn thread(&self, work: impl FnOnce(&Self) + Send + 'static) -> Box<dyn FnOnce() + Send> {
        let timed = self.clone();
        Box::new(move || work(&timed))
    }

    fn settle(&self) {
        assert_eq!(self.function.strays(), 0, "all runs that were given up have ended");
        self.model.settle();
    }
}

fn caller(timed: &Timed) {
    timed.call();
}

#[test]
fn a_load_that_several_give_up_is_counted_until_it_ends() {
    explore("hard timeout", || {
        let timed = Timed::new();
        let (load, number) = timed.begin().unwrap_or_else(|_| panic!("nobody leads yet"));
        together(vec![
            timed.thread(move |timed| {
                timed.run(load, number);
            }),
            timed.thread(caller),
            timed.thread(caller),
            timed.thread(|_| clock::advance(HARD)),
        ]);
        timed.settle();
    });
}

#[test]
fn an_invalidation_finds_loads_that_are_being_given_up() {
    explore("hard timeout, fence", || {
        let timed = Timed::new();
        let (load, number) = timed.begin().unwrap_or_else(|_| panic!("nobody leads yet"));
        let everything = Scope::Prefix(timed.function.local_prefix().to_vec());
        together(vec![
            timed.thread(move |timed| {
                timed.run(load, number);
            }),
            timed.thread(caller),
            timed.thread(caller),
            timed.thread(|_| clock::advance(HARD)),
            timed.thread(move |timed| timed.model.invalidate(&everything)),
        ]);
        timed.settle();
    });
}

#[test]
fn of_several_strays_the_newest_is_kept() {
    explore("strays of strays", || {
        let timed = Timed::new();
        let begin = || timed.begin().unwrap_or_else(|_| panic!("nobody leads, or for too long"));
        let (old, old_number) = begin();
        clock::advance(HARD);
        let (new, new_number) = begin();
        assert_eq!(timed.function.strays(), 1);
        together(vec![
            timed.thread(move |timed| {
                timed.run(old, old_number);
            }),
            timed.thread(move |timed| {
                timed.run(new, new_number);
            }),
            timed.thread(caller),
            // From here on the new one is given up as well, by whoever waits for it.
            timed.thread(|_| clock::advance(HARD)),
        ]);
        timed.settle();
    });
}
