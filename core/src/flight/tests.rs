use std::slice::from_ref;

use super::*;

fn lead(flights: &Arc<Flights<u32>>, key: &[u8]) -> Lead<u32> {
    match flights.begin(key, Purpose::Load) {
        Begin::Lead(lead) => lead,
        Begin::Join(_) => panic!("expected to lead"),
    }
}

fn join(flights: &Arc<Flights<u32>>, key: &[u8]) -> Arc<Flight<u32>> {
    match flights.begin(key, Purpose::Load) {
        Begin::Lead(_) => panic!("expected to join"),
        Begin::Join(flight) => flight,
    }
}

#[test]
fn followers_share_what_the_leader_lands_with() {
    let flights = Arc::new(Flights::default());
    let leader = lead(&flights, b"k");
    let follower = join(&flights, b"k");
    let waiting = std::thread::spawn(move || loop {
        if let Some(landing) = follower.wait(Duration::from_millis(10)) {
            return landing;
        }
    });
    leader.share(Arc::new(7));
    assert!(matches!(waiting.join().unwrap(), Landing::Shared(value) if *value == 7));
    assert!(flights.is_empty());
}

#[test]
fn an_abandoned_flight_frees_its_followers() {
    let flights = Arc::new(Flights::<u32>::default());
    let leader = lead(&flights, b"k");
    let follower = join(&flights, b"k");
    let called = Arc::new(AtomicBool::new(false));
    let flag = called.clone();
    follower.subscribe(Box::new(move || flag.store(true, Ordering::SeqCst)));
    drop(leader);
    assert!(called.load(Ordering::SeqCst));
    assert!(matches!(follower.landing(), Some(Landing::Abandoned)));
    drop(lead(&flights, b"k"));
}

#[test]
fn an_invalidated_load_writes_nothing_and_is_not_joined() {
    let flights = Arc::new(Flights::<u32>::default());
    let old = lead(&flights, b"fn1-a");
    let other = lead(&flights, b"fn2-a");
    let fence = flights.fence(&Scope::Prefix(b"fn1".to_vec()));
    let during = lead(&flights, b"fn1-b");
    assert!(during.flight().is_fenced(), "it may have read what is about to go");
    drop(fence);
    assert!(old.flight().write(|| ()).is_none());
    assert!(during.flight().write(|| ()).is_none());
    assert!(other.flight().write(|| ()).is_some());
    let fresh = lead(&flights, b"fn1-a");
    assert!(fresh.flight().write(|| ()).is_some());
}

#[test]
fn a_fence_waits_for_a_write_that_has_begun() {
    let flights = Arc::new(Flights::<u32>::default());
    let leader = lead(&flights, b"k");
    let (begun, wait_begun) = std::sync::mpsc::channel();
    let (finish, wait_finish) = std::sync::mpsc::channel::<()>();
    let written = Arc::new(AtomicBool::new(false));
    let done = written.clone();
    let writer = std::thread::spawn(move || {
        leader.flight().write(|| {
            begun.send(()).unwrap();
            wait_finish.recv().unwrap();
            done.store(true, Ordering::SeqCst);
        })
    });
    wait_begun.recv().unwrap();
    let invalidator = std::thread::spawn({
        let (flights, written) = (flights.clone(), written.clone());
        move || {
            let _fence = flights.fence(&Scope::Key(b"k".to_vec()));
            written.load(Ordering::SeqCst)
        }
    });
    finish.send(()).unwrap();
    assert!(invalidator.join().unwrap(), "removal ran before the write had ended");
    assert!(writer.join().unwrap().is_some());
}

#[test]
fn circles_of_waiting_are_refused() {
    let flights = Arc::new(Flights::<u32>::default());
    let a = lead(&flights, b"a");
    let b = lead(&flights, b"b");
    let (a, b) = (a.flight().clone(), b.flight().clone());
    assert!(!flights.may_wait(from_ref(&a), &a), "a load that wants itself");
    assert!(flights.may_wait(from_ref(&a), &b));
    assert!(!flights.may_wait(from_ref(&b), &a));
    flights.waited(from_ref(&a), &b);
    assert!(flights.may_wait(&[b], &a));
}

#[test]
fn a_forked_child_starts_with_no_flights() {
    let flights = Arc::new(Flights::<u32>::default());
    let _leader = lead(&flights, b"k");
    flights.fork_prepare();
    // SAFETY: follows `fork_prepare` on this thread.
    unsafe { flights.fork_done(false) };
    let follower = join(&flights, b"k");
    flights.fork_prepare();
    // SAFETY: as above.
    unsafe { flights.fork_done(true) };
    assert!(flights.is_empty());
    assert!(follower.landing().is_none());
    drop(lead(&flights, b"k"));
}

#[test]
fn a_load_that_two_gave_up_was_lost_to_invalidations() {
    let flights = Arc::new(Flights::<u32>::default());
    let leader = lead(&flights, b"k");
    assert!(flights.give_up(leader.flight()));
    assert!(!flights.give_up(leader.flight()), "the first one did");
    drop(flights.fence(&Scope::Key(b"k".to_vec())));
    assert!(leader.flight().write(|| ()).is_none());
}

#[test]
fn a_load_that_was_given_up_as_it_ended_is_not_listed_for_ever() {
    let flights = Arc::new(Flights::<u32>::default());
    let leader = lead(&flights, b"k");
    let flight = leader.flight().clone();
    leader.share(Arc::new(1));
    assert!(!flights.give_up(&flight));
    assert!(!flights.has_strays(lead(&flights, b"k").flight()));
}

#[test]
fn a_stray_supersedes_those_that_began_before_it_and_no_later_one() {
    let flights = Arc::new(Flights::<u32>::default());
    let [first, second, third] = [(); 3].map(|()| {
        let leader = lead(&flights, b"k");
        flights.give_up(leader.flight());
        leader
    });
    flights.supersede(second.flight());
    let fenced = [&first, &second, &third].map(|leader| leader.flight().is_fenced());
    assert_eq!(fenced, [true, false, false]);
}
