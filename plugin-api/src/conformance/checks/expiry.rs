//! Time to live, under the host's clock.

use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::capability::TTL;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 6] = [
    Check::new("entries-expire", TTL, entries_expire),
    Check::new("expiry-is-reported", TTL, expiry_is_reported),
    Check::new("overwriting-renews-expiry", TTL, overwriting_renews_expiry),
    Check::new("touch", TTL, touch),
    Check::new("remaining-ttl", TTL, remaining_ttl),
    Check::new("calls-without-the-time", TTL, calls_without_the_time),
];

fn entries_expire(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"short", b"value", 10 * SECOND)?;
    session.set(b"long", b"value", 100 * SECOND)?;
    session.set(b"ever", b"value", NEVER)?;
    session.host.advance(9 * SECOND);
    ensure!(session.get(b"short")?.is_some(), "an entry of 10 s is gone after 9 s");
    session.host.advance(2 * SECOND);
    ensure!(session.get(b"short")?.is_none(), "an entry of 10 s is there after 11 s");
    ensure!(session.get(b"long")?.is_some(), "an entry of 100 s is gone after 11 s");
    ensure!(!session.delete(b"short")?, "`delete` says that an expired entry was there");
    session.host.advance(1_000_000 * SECOND);
    ensure!(session.get(b"long")?.is_none(), "an entry of 100 s is there after eleven days");
    ensure!(session.get(b"ever")?.is_some(), "an entry without a ttl is gone after eleven days");
    session.close()
}

/// Backends with a coarser clock may be off by its step, here up to ten milliseconds.
fn near(found: i64, expected: i64) -> bool {
    (found - expected).abs() <= SECOND / 100
}

fn expiry_is_reported(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let set_at = session.host.now();
    session.set(b"key", b"value", 10 * SECOND)?;
    session.host.advance(3 * SECOND);
    let found = session.get(b"key")?.ok_or("an entry of 10 s is gone after 3 s")?;
    ensure!(
        near(found.expires, set_at + 10 * SECOND),
        "an entry of 10 s, set at {set_at}, says that it expires at {}",
        found.expires
    );
    session.close()
}

fn overwriting_renews_expiry(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"1", 10 * SECOND)?;
    session.host.advance(8 * SECOND);
    session.set(b"key", b"2", 10 * SECOND)?;
    session.host.advance(8 * SECOND);
    ensure!(session.get(b"key")?.is_some(), "an overwritten entry kept its old expiry");
    session.set(b"key", b"3", NEVER)?;
    session.host.advance(100 * SECOND);
    ensure!(session.get(b"key")?.is_some(), "an entry overwritten without a ttl kept its old expiry");
    session.set(b"key", b"4", SECOND)?;
    session.host.advance(2 * SECOND);
    ensure!(session.get(b"key")?.is_none(), "an entry overwritten with a ttl does not expire");
    session.close()
}

fn touch(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    ensure!(!session.touch(b"absent", SECOND)?, "`touch` found a key that was never set");
    session.set(b"key", b"value", 10 * SECOND)?;
    session.host.advance(8 * SECOND);
    ensure!(session.touch(b"key", 10 * SECOND)?, "`touch` does not find an entry of 10 s after 8 s");
    session.host.advance(8 * SECOND);
    let found = session.get(b"key")?.ok_or("a touched entry kept its old expiry")?;
    ensure!(found.bytes() == b"value", "`touch` changed the value to {:?}", found.bytes());
    ensure!(session.touch(b"key", NEVER)?, "`touch` does not find a live entry");
    session.host.advance(1_000 * SECOND);
    ensure!(session.get(b"key")?.is_some(), "an entry touched to live for ever expired");
    ensure!(session.touch(b"key", SECOND)?, "`touch` does not find an entry without a ttl");
    session.host.advance(2 * SECOND);
    ensure!(session.get(b"key")?.is_none(), "an entry touched to live for a second is there after two");
    ensure!(!session.touch(b"key", SECOND)?, "`touch` brought an expired entry back");
    session.close()
}

fn remaining_ttl(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    ensure!(session.ttl(b"absent")?.is_none(), "`ttl` found a key that was never set");
    session.set(b"ever", b"value", NEVER)?;
    session.set(b"key", b"value", 10 * SECOND)?;
    session.host.advance(4 * SECOND);
    let left = session.ttl(b"key")?.ok_or("`ttl` does not find an entry of 10 s after 4 s")?;
    ensure!(near(left, 6 * SECOND), "an entry of 10 s has {left} ns left after 4 s");
    let left = session.ttl(b"ever")?.ok_or("`ttl` does not find an entry without a ttl")?;
    ensure!(left == NEVER, "an entry without a ttl has {left} ns left: expected {NEVER}");
    session.host.advance(7 * SECOND);
    ensure!(session.ttl(b"key")?.is_none(), "`ttl` found an expired entry");
    session.close()
}

/// A call whose `now` is zero asks for no look at expiry; what it writes expires all the same.
fn calls_without_the_time(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set_timeless(true);
    session.set(b"ever", b"value", NEVER)?;
    session.set(b"key", b"value", 10 * SECOND)?;
    for key in [b"ever".as_slice(), b"key"] {
        ensure!(session.get(key)?.is_some(), "a live entry is not found by a call without the time");
    }
    session.set_timeless(false);
    session.host.advance(9 * SECOND);
    ensure!(session.get(b"key")?.is_some(), "an entry of 10 s, set without the time, is gone after 9 s");
    session.host.advance(2 * SECOND);
    ensure!(session.get(b"key")?.is_none(), "an entry of 10 s, set without the time, is there after 11 s");
    session.close()
}
