//! What is written and what must not be, with an invalidation in between.

use std::sync::Arc;

use retainit_core::flight::{Begin, Flight, Flights, Lead, Purpose, Scope};
use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::sync::Mutex;

use crate::harness::{explore, together};

const KEY: &[u8] = b"f-k";

/// A stored value: which version of the source it was made of, and which load wrote it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stored {
    version: usize,
    writer: usize,
}

/// A cached function with two tiers; the farther one fills the nearer.
pub struct Model {
    key: Vec<u8>,
    pub flights: Arc<Flights<usize>>,
    source: AtomicUsize,
    /// Loads that have begun.
    loads: Mutex<usize>,
    near: Mutex<Option<Stored>>,
    far: Mutex<Option<Stored>>,
}

impl Model {
    /// One whose tiers are empty.
    pub fn new(key: &[u8]) -> Arc<Self> {
        Arc::new(Model {
            key: key.to_vec(),
            flights: Arc::default(),
            source: AtomicUsize::new(1),
            loads: Mutex::new(0),
            near: Mutex::new(None),
            far: Mutex::new(None),
        })
    }

    /// With an entry in its farther tier.
    fn fill(self: Arc<Self>) -> Arc<Self> {
        *self.far.lock().unwrap() = Some(Stored { version: 1, writer: 0 });
        self
    }

    /// What a leader reads, and writes unless it must not.
    pub fn load(&self, flight: &Arc<Flight<usize>>, writer: usize) -> usize {
        let near = *self.near.lock().unwrap();
        if let Some(near) = near {
            return near.version;
        }
        let far = *self.far.lock().unwrap();
        let version = far.map_or_else(|| self.source.load(SeqCst), |far| far.version);
        if self.flights.has_strays(flight) {
            self.flights.supersede(flight);
        }
        self.write(flight, &self.near, Stored { version, writer });
        if far.is_none() {
            self.write(flight, &self.far, Stored { version, writer });
        }
        version
    }

    /// What a run of the function gives now.
    pub fn run(&self) -> usize {
        self.source.load(SeqCst)
    }

    /// Writes what the load `writer` has made.
    pub fn store(&self, flight: &Arc<Flight<usize>>, version: usize, writer: usize) {
        self.write(flight, &self.near, Stored { version, writer });
        self.write(flight, &self.far, Stored { version, writer });
    }

    fn write(&self, flight: &Flight<usize>, tier: &Mutex<Option<Stored>>, stored: Stored) {
        flight.write(|| {
            let before = tier.lock().unwrap().replace(stored);
            let newer = before.filter(|before| before.writer > stored.writer);
            assert_eq!(newer, None, "overwritten by {stored:?}, whose load began before");
        });
    }

    fn call(&self) {
        if let Some((lead, number)) = self.begin() {
            let value = self.load(lead.flight(), number);
            lead.share(Arc::new(value));
        }
    }

    /// Begins a load, and says which one it is; `None` where one is under way.
    fn begin(&self) -> Option<(Lead<usize>, usize)> {
        self.numbered(|| match self.flights.begin(&self.key, Purpose::Load) {
            Begin::Lead(lead) => Ok(lead),
            Begin::Join(flight) => Err(flight),
        })
        .ok()
    }

    /// Numbers loads in the order in which they begin.
    pub fn numbered<L, J>(&self, begin: impl FnOnce() -> Result<L, J>) -> Result<(L, usize), J> {
        let mut loads = self.loads.lock().unwrap();
        let lead = begin()?;
        *loads += 1;
        Ok((lead, *loads))
    }

    /// Changes the source, then removes what was made of it.
    pub fn invalidate(&self, scope: &Scope) {
        let version = self.source.fetch_add(1, SeqCst) + 1;
        let fence = self.flights.fence(scope);
        *self.far.lock().unwrap() = None;
        // One that begins now may have read what was there a moment ago.
        let (lead, number) = self.begin().expect("a fenced load cannot be joined");
        assert!(lead.flight().is_fenced(), "born beside an invalidation");
        self.load(lead.flight(), number);
        drop(lead);
        *self.near.lock().unwrap() = None;
        let kept = || [*self.near.lock().unwrap(), *self.far.lock().unwrap()];
        assert_eq!(kept(), [None; 2], "written while an invalidation goes on");
        drop(fence);
        let older = |stored: &Stored| stored.version < version;
        assert!(
            !kept().iter().flatten().any(older),
            "kept after the invalidation to {version}: {:?}",
            kept()
        );
    }

    /// After everything: a load may write again, and nothing is left of those before.
    pub fn settle(&self) {
        assert!(self.flights.is_empty());
        let last = self.source.load(SeqCst);
        for stored in [*self.near.lock().unwrap(), *self.far.lock().unwrap()].iter().flatten() {
            assert_eq!(stored.version, last, "kept after the last invalidation");
        }
        let (lead, _) = self.begin().expect("all loads have ended");
        assert!(!self.flights.has_strays(lead.flight()), "the table forgets runs that have ended");
        assert!(lead.flight().write(|| ()).is_some(), "no fence is left");
    }
}

fn key() -> Scope {
    Scope::Key(KEY.to_vec())
}

fn prefix() -> Scope {
    Scope::Prefix(b"f-".to_vec())
}

fn thread(model: &Arc<Model>, work: impl FnOnce(&Model) + Send + 'static) -> Box<dyn FnOnce() + Send> {
    let model = model.clone();
    Box::new(move || work(&model))
}

fn scopes(scopes: &'static [fn() -> Scope], loads: usize) {
    let model = Model::new(KEY).fill();
    let mut threads: Vec<_> = (0..loads).map(|_| thread(&model, Model::call)).collect();
    threads.extend(scopes.iter().map(|scope| thread(&model, move |model| model.invalidate(&scope()))));
    together(threads);
    model.settle();
}

#[test]
fn nothing_older_is_kept_after_an_invalidation_of_the_key() {
    explore("fence of a key", || scopes(&[key], 2));
}

#[test]
fn nothing_older_is_kept_after_an_invalidation_of_a_prefix() {
    explore("fence of a prefix", || scopes(&[prefix], 2));
}

#[test]
fn each_of_two_invalidations_at_once_is_over_when_it_returns() {
    explore("two fences", || scopes(&[key, prefix], 2));
}

#[test]
fn two_who_give_up_the_same_load_leave_it_to_invalidations() {
    explore("given up twice", || {
        let model = Model::new(KEY);
        let (lead, number) = model.begin().unwrap();
        let flight = lead.flight().clone();
        let mut threads = vec![thread(&model, move |model| {
            model.load(lead.flight(), number);
        })];
        for _ in 0..2 {
            let flight = flight.clone();
            threads.push(thread(&model, move |model| {
                model.flights.give_up(&flight);
                assert!(flight.landing().is_some());
            }));
        }
        threads.push(thread(&model, |model| model.invalidate(&key())));
        together(threads);
        model.settle();
    });
}

#[test]
fn a_stray_overwrites_nothing_newer_and_is_seen_by_invalidations() {
    explore("strays", || {
        let model = Model::new(KEY);
        let (lead, number) = model.begin().unwrap();
        let flight = lead.flight().clone();
        let threads = vec![
            thread(&model, move |model| {
                model.load(lead.flight(), number);
            }),
            thread(&model, move |model| {
                model.flights.give_up(&flight);
                model.call();
            }),
            thread(&model, Model::call),
            thread(&model, |model| model.invalidate(&prefix())),
        ];
        together(threads);
        model.settle();
    });
}

#[test]
fn writes_of_several_loads_at_once_meet_fences_one_by_one() {
    explore("written together", || {
        let flights: Arc<Flights<usize>> = Arc::default();
        let begin = |key: &[u8]| match flights.begin(key, Purpose::Load) {
            Begin::Lead(lead) => lead,
            Begin::Join(_) => panic!("nobody leads yet"),
        };
        let leads = [begin(b"f-1"), begin(b"f-2")];
        let stored = Arc::new([const { Mutex::new(false) }; 2]);
        let (both, writes) = (leads.each_ref().map(|lead| lead.flight().clone()), stored.clone());
        let mut threads: Vec<Box<dyn FnOnce() + Send>> = vec![Box::new(move || {
            Flight::write_together(&both, |may| {
                let allowed = writes.iter().zip(may).filter(|(_, may)| *may);
                allowed.for_each(|(stored, _)| *stored.lock().unwrap() = true);
            });
        })];
        for (number, scope) in [(0, Scope::Key(b"f-1".to_vec())), (1, Scope::Key(b"f-2".to_vec()))] {
            let (flights, stored) = (flights.clone(), stored.clone());
            threads.push(Box::new(move || {
                let _fence = flights.fence(&scope);
                *stored[number].lock().unwrap() = false;
                assert!(!*stored[number].lock().unwrap(), "written while an invalidation goes on");
            }));
        }
        together(threads);
        assert!(stored.iter().all(|stored| !*stored.lock().unwrap()), "kept after an invalidation");
        assert!(leads.iter().all(|lead| lead.flight().is_fenced()));
    });
}
