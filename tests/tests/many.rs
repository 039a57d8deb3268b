//! Many loads together, over backends that say what they were asked.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use retainit_core::codecs::Codecs;
use retainit_core::flight::Flights;
use retainit_core::format::Format;
use retainit_core::function::{Identity, Policy};
use retainit_core::language::{Bytes, Dumped, Language, Payload, Stamp};
use retainit_core::load::many::{self, Read};
use retainit_core::load::{Life, Load, Step};
use retainit_core::loader::{Kind, Registry};
use retainit_core::sdk::{Value, NEVER};
use retainit_core::tier::{CallKey, Tier};
use retainit_core::{change, entry, Error, Function, Instance, Result};
use retainit_tests::{fixture, Scratch};

/// A language whose objects are integers.
struct Integers;

struct Eight([u8; 8]);

impl AsRef<[u8]> for Eight {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Bytes for Eight {
    fn value(&self) -> Option<&Value> {
        None
    }
}

impl Language for Integers {
    type Object = i64;
    type Bytes = Eight;

    fn hold(&self, _: &i64, _: &Stamp) -> Value {
        unreachable!("its tiers keep bytes")
    }

    fn take(&self, _: Value) -> Option<(i64, Option<Stamp>)> {
        unreachable!("its tiers keep bytes")
    }

    fn dump(&self, object: &i64, _: &Format) -> Result<Dumped<Eight>> {
        Ok(Dumped { codec: "integer".into(), version: 1, bytes: Eight(object.to_le_bytes()) })
    }

    fn load(&self, _: &str, _: u16, payload: Payload, _: &Format) -> Result<i64> {
        Ok(i64::from_le_bytes(payload.as_bytes().try_into().unwrap()))
    }

    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }
}

type Shared = std::result::Result<i64, Error>;

/// A backend that follows a script and says what it was asked.
struct Scripted {
    instance: Arc<Instance>,
    scratch: Scratch,
}

impl Scripted {
    fn open() -> Self {
        static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
            let registry = Registry::new();
            registry.add_file(fixture("faulty-rust", "retainit_faulty_rust"), None).unwrap();
            registry
        });
        let scratch = Scratch::new();
        let script = scratch.file("script", b"");
        let component = REGISTRY.component(Kind::Backend, "scripted").unwrap();
        let instance = component.open_backend("it", &serde_json::json!({"script": script})).unwrap();
        Scripted { instance, scratch }
    }

    fn follow(&self, script: &str) {
        self.scratch.file("script", script.as_bytes());
    }

    /// The calls of many at once, since this was last asked.
    fn asked(&self) -> Vec<String> {
        let log: PathBuf = self.scratch.path().join("script.log");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(log);
        text.lines().filter(|line| line.contains("_many")).map(str::to_owned).collect()
    }
}

struct World {
    near: Scripted,
    far: Scripted,
    function: Arc<Function>,
    flights: Arc<Flights<Shared>>,
}

impl World {
    fn new(strict: bool) -> Self {
        static CODECS: LazyLock<Registry> = LazyLock::new(Registry::new);
        let (near, far) = (Scripted::open(), Scripted::open());
        let identity = Identity { name: "module.function".into(), parameters: vec!["x".into()] };
        let function = Function::new(identity, Policy { strict, ..Policy::default() });
        let tier = |backend: &Scripted| {
            let format = Format {
                codecs: Arc::new(Codecs::new(&CODECS)),
                compression: None,
                seal: entry::Seal::Checksum,
                choice: Arc::new(()),
            };
            Tier::new(backend.instance.clone(), Arc::new(format), NEVER, &function, "", "")
        };
        function.set_tiers(vec![tier(&near), tier(&far)]);
        World { near, far, function, flights: Arc::default() }
    }

    fn key(&self, number: u8) -> CallKey {
        CallKey::new(&self.function, &[0x11, number], true)
    }

    fn loads(&self, numbers: std::ops::Range<u8>) -> Vec<Load<Shared>> {
        let begin = |number| match Load::begin(&self.flights, &self.function, self.key(number), false) {
            Step::Load(load) => load,
            Step::Wait(_) => panic!("nobody loads {number}"),
        };
        numbers.map(begin).collect()
    }

    fn read(&self, loads: &[Load<Shared>]) -> Result<Vec<Option<i64>>> {
        let fresh = |read| match read {
            Read::Fresh(object) => Some(object),
            Read::Other => panic!("all there is is fresh"),
            Read::Nothing(_) => None,
        };
        Ok(many::read(&together(loads), |_| true)?.into_iter().map(fresh).collect())
    }

    fn store(&self, loads: &[Load<Shared>]) -> Result<()> {
        let results: Vec<_> = (0..loads.len()).map(|number| (number as i64, Life::Own)).collect();
        many::store(&self.flights, &together(loads), &results)
    }

    fn errors(&self) -> u64 {
        self.function.counters.errors.load(Ordering::Relaxed)
    }
}

fn together(loads: &[Load<Shared>]) -> Vec<(&Load<Shared>, &Integers)> {
    loads.iter().map(|load| (load, &Integers)).collect()
}

fn numbers(count: i64) -> Vec<Option<i64>> {
    (0..count).map(Some).collect()
}

#[test]
fn each_tier_is_asked_once_and_told_once() {
    let world = World::new(false);
    let loads = world.loads(0..10);
    assert_eq!(world.read(&loads).unwrap(), vec![None; 10]);
    assert_eq!(world.near.asked(), ["get_many 10"]);
    assert_eq!(world.far.asked(), ["get_many 10"]);
    world.store(&loads).unwrap();
    assert_eq!(world.near.asked(), ["set_many 10"]);
    assert_eq!(world.far.asked(), ["set_many 10"]);
    drop(loads);
    // The nearer tier loses four: only those are asked for farther away, and come back.
    for number in 0..4 {
        let tier = &world.function.tiers()[0];
        assert!(tier.instance().delete(&tier.key(&world.key(number)).unwrap()).unwrap());
    }
    world.near.asked();
    assert_eq!(world.read(&world.loads(0..10)).unwrap(), numbers(10));
    assert_eq!(world.near.asked(), ["get_many 10", "set_many 4"]);
    assert_eq!(world.far.asked(), ["get_many 4"]);
    assert_eq!(world.read(&world.loads(0..10)).unwrap(), numbers(10));
    assert_eq!(world.near.asked(), ["get_many 10"]);
    assert!(world.far.asked().is_empty());
    assert_eq!(world.function.counters.hits.load(Ordering::Relaxed), 20);
    assert!(world.flights.is_empty());
}

#[test]
fn what_an_invalidation_met_is_not_written() {
    let world = World::new(false);
    let loads = world.loads(0..10);
    world.read(&loads).unwrap();
    change::delete(&world.flights, &world.function, &Integers, &world.key(3)).unwrap();
    world.near.asked();
    world.store(&loads).unwrap();
    assert_eq!(world.near.asked(), ["set_many 9"]);
    drop(loads);
    let mut expected = numbers(10);
    expected[3] = None;
    assert_eq!(world.read(&world.loads(0..10)).unwrap(), expected);
}

#[test]
fn a_tier_that_fails_is_as_if_it_were_absent() {
    let world = World::new(false);
    let loads = world.loads(0..3);
    world.store(&loads).unwrap();
    drop(loads);
    world.near.follow("get corrupt 2");
    assert_eq!(world.read(&world.loads(0..3)).unwrap(), numbers(3));
    assert_eq!(world.errors(), 2);
    assert_eq!(world.far.asked(), ["set_many 3", "get_many 2"]);
    world.near.follow("set fail");
    world.store(&world.loads(0..3)).unwrap();
    assert_eq!(world.errors(), 5);
}

#[test]
fn a_strict_function_gets_the_failure_and_leaves_nobody_waiting() {
    let world = World::new(true);
    let loads = world.loads(0..3);
    world.far.follow("get corrupt 1");
    assert!(world.read(&loads).unwrap_err().to_string().contains("get_many"));
    drop(loads);
    assert!(world.flights.is_empty());
}
