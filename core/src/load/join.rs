//! What becomes of those who join a load: what it gives them, and how long they wait.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::clock;
use crate::flight::{Flight, Flights, Landing};
use crate::freshness::{later, State};
use crate::function::Function;

/// What a flight gives to one who joined it.
pub enum Given<S> {
    /// This.
    Shared(Arc<S>),
    /// A value in a tier, to be read for an object of one's own.
    Found,
    /// Nothing: it took too long.
    TimedOut,
    /// Nothing: the call starts again.
    Nothing,
}

/// What a flight that has landed gives to a call that `reads`, and counts it. The call's `own` flight was counted
/// when its function began to run.
pub fn given<S: Send + Sync>(
    function: &Function,
    flight: &Flight<S>,
    landing: Landing<S>,
    own: bool,
    reads: bool,
) -> Given<S> {
    let counters = &function.counters;
    let count = |state: State| match own {
        false => function.count_hit(state),
        true if state == State::Fallback => {
            counters.stale.fetch_add(1, Ordering::Relaxed);
        }
        true => {}
    };
    match landing {
        Landing::Shared(shared) if own || reads => {
            count(State::Fresh);
            Given::Shared(shared)
        }
        // It was counted when it began to run.
        Landing::Ended(shared) if own => Given::Shared(shared),
        Landing::FellBack(shared, _) if reads => {
            count(State::Fallback);
            Given::Shared(shared)
        }
        Landing::FellBack(_, Some(cause)) if own => Given::Shared(cause),
        Landing::TimedOut if (own || reads) && !flight.is_refreshing() => {
            match flight.fallback().filter(|_| reads) {
                Some(fallback) => {
                    count(State::Fallback);
                    Given::Shared(fallback)
                }
                None => Given::TimedOut,
            }
        }
        Landing::Found if reads => Given::Found,
        _ => Given::Nothing,
    }
}

/// Gives up a load that has taken longer than the hard timeout: it becomes a stray.
pub fn give_up<S: Send + Sync>(flights: &Flights<S>, function: &Function, flight: &Arc<Flight<S>>) {
    function.count_strays(1);
    if !flights.give_up(flight) {
        function.count_strays(-1);
        return;
    }
    if !flight.is_fenced() && (flight.replaces() || flight.fallback().is_some()) {
        // It may have taken a while until somebody noticed.
        function.pauses.begin(flight.key(), overdue_at(function, flight));
    }
}

/// Whether a load has taken longer than the hard timeout.
pub fn is_overdue<S>(function: &Function, flight: &Flight<S>) -> bool {
    clock::monotonic() >= overdue_at(function, flight)
}

/// When a load has taken longer than the hard timeout.
pub(super) fn overdue_at<S>(function: &Function, flight: &Flight<S>) -> i64 {
    later(flight.started(), function.policy().rules.hard_timeout)
}
