//! Counters.

use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::capability::{COUNTER, TTL};
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 4] = [
    Check::new("increment", COUNTER, increment),
    Check::new("increment-refuses", COUNTER, increment_refuses),
    Check::new("increment-expires", COUNTER | TTL, increment_expires),
    Check::new("increment-race", COUNTER, increment_race),
];

fn increment(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for (delta, expected) in [(1, 1), (41, 42), (0, 42), (-50, -8), (i64::from(i32::MAX), 2_147_483_639)] {
        let value = session.increment(b"key", delta, NEVER)?;
        ensure!(value == expected, "adding {delta} gave {value}: expected {expected}");
        let found = session.get(b"key")?.ok_or("the counter is lost")?;
        ensure!(
            found.bytes() == expected.to_string().as_bytes(),
            "the counter is not a decimal: {:?}",
            found.bytes()
        );
    }
    session.set(b"set", b"99", NEVER)?;
    let value = session.increment(b"set", 1, NEVER)?;
    ensure!(value == 100, "adding 1 to a value of `99` gave {value}");
    session.close()
}

fn increment_refuses(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for text in [b"not a number".as_slice(), b"", b"1.5", b"\xff"] {
        session.set(b"key", text, NEVER)?;
        ensure!(session.increment(b"key", 1, NEVER).is_err(), "{} was incremented", text.escape_ascii());
        let found = session.get(b"key")?.ok_or("a refused `increment` removed the entry")?;
        ensure!(found.bytes() == text, "a refused `increment` changed the entry");
    }
    session.set(b"key", i64::MAX.to_string().as_bytes(), NEVER)?;
    ensure!(session.increment(b"key", 1, NEVER).is_err(), "the counter overflowed without an error");
    session.close()
}

fn increment_expires(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.increment(b"key", 1, 10 * SECOND)?;
    session.host.advance(8 * SECOND);
    session.increment(b"key", 1, 10 * SECOND)?;
    session.host.advance(3 * SECOND);
    let value = session.increment(b"key", 1, 10 * SECOND)?;
    ensure!(
        value == 1,
        "a counter of 10 s stood at {value} after 11 s: expected a fresh one (the first ttl holds)"
    );
    session.close()
}

fn increment_race(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..100).try_for_each(|_| session.increment(b"key", 1, NEVER).map(|_| ())))
            })
            .collect();
        racers.into_iter().try_for_each(|racer| racer.join().expect("no panic"))
    })?;
    let value = session.increment(b"key", 0, NEVER)?;
    ensure!(value == 800, "800 increments of eight threads gave {value}");
    session.close()
}
