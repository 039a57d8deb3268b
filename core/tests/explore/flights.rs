//! Who leads, who waits, who is called.

use std::sync::Arc;
use std::time::Duration;

use retainit_core::clock;
use retainit_core::flight::{Begin, Flight, Flights, Landing, Purpose, Scope};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use shuttle::sync::Mutex;

use crate::harness::{explore, together};

/// Longer than any schedule takes: what has not landed then never does, which shuttle sees as a deadlock.
const EVER: Duration = Duration::from_secs(1 << 20);
const KEY: &[u8] = b"k";

type Table = Arc<Flights<usize>>;

/// What a call comes to that starts again until it has a value: leads, or gets what a leader shared.
struct Calls {
    flights: Table,
    store: Mutex<Option<usize>>,
    leads: AtomicBool,
    runs: AtomicUsize,
    /// Runs that end without a value.
    failing: usize,
}

impl Calls {
    fn new(failing: usize) -> Arc<Self> {
        Arc::new(Calls {
            flights: Arc::default(),
            store: Mutex::new(None),
            leads: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
            failing,
        })
    }

    fn call(&self) -> usize {
        loop {
            let lead = match self.flights.begin(KEY, Purpose::Load) {
                Begin::Join(flight) => match flight.wait(EVER).expect("it lands") {
                    Landing::Shared(value) => return *value,
                    Landing::Abandoned => continue,
                    other => panic!("nobody lands with {other:?}"),
                },
                Begin::Lead(lead) => lead,
            };
            assert!(!self.leads.swap(true, SeqCst), "two lead at a time");
            let kept = *self.store.lock().unwrap();
            let value = kept.or_else(|| {
                let run = self.runs.fetch_add(1, SeqCst);
                (run >= self.failing).then_some(run)
            });
            if let Some(value) = value {
                *self.store.lock().unwrap() = Some(value);
            }
            self.leads.store(false, SeqCst);
            if let Some(value) = value {
                lead.share(Arc::new(value));
                return value;
            }
        }
    }
}

fn callers(threads: usize, failing: usize) {
    let calls = Calls::new(failing);
    let got = Arc::new(Mutex::new(Vec::new()));
    let caller = |_| -> Box<dyn FnOnce() + Send> {
        let (calls, got) = (calls.clone(), got.clone());
        Box::new(move || {
            let value = calls.call();
            got.lock().unwrap().push(value);
        })
    };
    together((0..threads).map(caller).collect());
    assert_eq!(
        *got.lock().unwrap(),
        vec![failing; threads],
        "all get what the one run gave that did not fail"
    );
    assert_eq!(calls.runs.load(SeqCst), failing + 1, "each abandoned run has one successor");
    assert!(calls.flights.is_empty());
}

#[test]
fn one_leads_at_a_time_and_all_get_its_value() {
    explore("one leads", || callers(4, 0));
}

#[test]
fn an_abandoned_load_has_exactly_one_successor() {
    explore("abandoned", || callers(3, 2));
}

/// Each of `count` loads wants the value of the next, and the last that of the first.
fn circle(count: usize) {
    let flights: Table = Arc::default();
    let alone = Arc::new(AtomicUsize::new(0));
    let joined = Arc::new(AtomicUsize::new(0));
    let load = |own: usize| -> Box<dyn FnOnce() + Send> {
        let (flights, alone, joined) = (flights.clone(), alone.clone(), joined.clone());
        Box::new(move || {
            let Begin::Lead(lead) = flights.begin(&[own as u8], Purpose::Load) else { return };
            let holding = [lead.flight().clone()];
            match flights.begin(&[((own + 1) % count) as u8], Purpose::Load) {
                // It was not under way yet, or not any more: its value is made here.
                Begin::Lead(next) => next.share(Arc::new(0)),
                Begin::Join(next) => {
                    joined.fetch_add(1, SeqCst);
                    if flights.may_wait(&holding, &next) {
                        next.wait(EVER).expect("it lands");
                        flights.waited(&holding, &next);
                    } else {
                        alone.fetch_add(1, SeqCst);
                    }
                }
            }
            lead.share(Arc::new(own));
        })
    };
    together((0..count).map(load).collect());
    let alone = alone.load(SeqCst);
    assert!(alone <= 1, "{alone} did not wait: one is enough to open the circle");
    assert!(alone == 0 || joined.load(SeqCst) == count, "no circle was to be opened");
    assert!(flights.is_empty());
}

#[test]
fn two_loads_that_want_each_other_do_not_both_wait() {
    explore("circle of two", || circle(2));
}

#[test]
fn three_loads_in_a_circle_do_not_all_wait() {
    explore("circle of three", || circle(3));
}

#[test]
fn a_subscriber_is_called_exactly_once() {
    explore("subscribers", || {
        let flights: Table = Arc::default();
        let Begin::Lead(lead) = flights.begin(KEY, Purpose::Load) else { panic!("nobody leads yet") };
        let called = Arc::new([const { AtomicUsize::new(0) }; 3]);
        let mut threads: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for number in 0..called.len() {
            let (called, flight) = (called.clone(), lead.flight().clone());
            threads.push(Box::new(move || {
                let asked = flight.clone();
                flight.subscribe(Box::new(move || {
                    assert!(asked.landing().is_some(), "it has landed");
                    called[number].fetch_add(1, SeqCst);
                }));
            }));
        }
        let (given_up, flight) = (flights.clone(), lead.flight().clone());
        threads.push(Box::new(move || {
            given_up.give_up(&flight);
        }));
        threads.push(Box::new(move || lead.share(Arc::new(1))));
        together(threads);
        for called in &*called {
            assert_eq!(called.load(SeqCst), 1);
        }
    });
}

#[test]
fn a_fallback_is_withdrawn_by_an_invalidation() {
    explore("fallback", || {
        let flights: Table = Arc::default();
        let Begin::Lead(lead) = flights.begin(KEY, Purpose::Load) else { panic!("nobody leads yet") };
        let invalidated = Arc::new(AtomicBool::new(false));
        let read = |flight: Arc<Flight<usize>>, invalidated: Arc<AtomicBool>| {
            let before = invalidated.load(SeqCst);
            let fallback = flight.fallback();
            assert!(!before || fallback.is_none(), "what was invalidated is served");
            fallback
        };
        let reader = |_| -> Box<dyn FnOnce() + Send> {
            let (flight, invalidated) = (lead.flight().clone(), invalidated.clone());
            Box::new(move || {
                let first = read(flight.clone(), invalidated.clone());
                let second = read(flight, invalidated.clone());
                let gone = first.is_some() && second.is_none();
                // Marked in the fence, so a little before it returns.
                assert!(first.is_none() || second == first || gone);
            })
        };
        let mut threads: Vec<_> = (0..2).map(reader).collect();
        let (invalidates, done) = (flights.clone(), invalidated.clone());
        threads.push(Box::new(move || {
            let _fence = invalidates.fence(&Scope::Key(KEY.to_vec()));
            done.store(true, SeqCst);
        }));
        let flight = lead.flight().clone();
        threads.push(Box::new(move || flight.offer(Arc::new(7), clock::monotonic() + 1)));
        together(threads);
        assert!(lead.flight().fallback().is_none());
        drop(lead);
        let Begin::Lead(next) = flights.begin(KEY, Purpose::Load) else { panic!("it is over") };
        next.flight().offer(Arc::new(8), clock::monotonic() + 1);
        assert_eq!(next.flight().fallback().as_deref(), Some(&8), "offered where nothing was invalidated");
    });
}

#[test]
fn readers_beside_a_refresh_never_wait() {
    explore("refresh", || {
        let flights: Table = Arc::default();
        let store = Arc::new(Mutex::new(1));
        let refreshing = Arc::new(AtomicBool::new(false));
        let refresher = |_| -> Box<dyn FnOnce() + Send> {
            let (flights, store, refreshing) = (flights.clone(), store.clone(), refreshing.clone());
            Box::new(move || {
                // Who does not lead leaves it to who does.
                let Begin::Lead(lead) = flights.begin(KEY, Purpose::Refresh) else { return };
                assert!(!refreshing.swap(true, SeqCst), "two refresh at a time");
                lead.flight().write(|| *store.lock().unwrap() += 1);
                refreshing.store(false, SeqCst);
            })
        };
        let reader = |_| -> Box<dyn FnOnce() + Send> {
            let (flights, store) = (flights.clone(), store.clone());
            Box::new(move || match flights.begin(KEY, Purpose::Load) {
                // There is an answer all the time.
                Begin::Join(flight) if flight.replaces() => assert!(*store.lock().unwrap() >= 1),
                Begin::Join(flight) => {
                    assert!(!flight.is_refreshing(), "waits for what nobody has to wait for");
                    assert!(matches!(flight.wait(EVER), Some(Landing::Shared(_))), "a reader led it");
                }
                Begin::Lead(lead) => lead.share(Arc::new(*store.lock().unwrap())),
            })
        };
        let threads = (0..2).map(refresher).chain((0..2).map(reader));
        together(threads.collect());
        assert!(flights.is_empty() && *store.lock().unwrap() <= 3);
    });
}
