//! Add if absent, compare and set.

use super::{Check, Subject, SECOND};
use crate::abi::call::{Token, NEVER};
use crate::abi::capability::{CAS, TTL};
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 6] = [
    Check::new("add", CAS, add),
    Check::new("add-after-expiry", CAS | TTL, add_after_expiry),
    Check::new("compare-and-set", CAS, compare_and_set),
    Check::new("tokens-never-return", CAS, tokens_never_return),
    Check::new("add-race", CAS, add_race),
    Check::new("compare-and-set-race", CAS, compare_and_set_race),
];

const NOBODY: Token = Token { bytes: [0; 16] };

fn add(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let token = session.add(b"key", b"first", NEVER)?.ok_or("`add` of an absent key was refused")?;
    ensure!(session.add(b"key", b"second", NEVER)?.is_none(), "`add` replaced an entry");
    let found = session.get(b"key")?.ok_or("what was added is lost")?;
    ensure!(found.bytes() == b"first", "a refused `add` changed the entry");
    ensure!(found.token == token, "`get` gives another token than `add` did");
    session.delete(b"key")?;
    ensure!(session.add(b"key", b"third", NEVER)?.is_some(), "`add` after `delete` was refused");
    session.close()
}

fn add_after_expiry(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let old = session.add(b"key", b"first", SECOND)?.ok_or("`add` of an absent key was refused")?;
    session.host.advance(2 * SECOND);
    ensure!(
        session.compare_and_set(b"key", b"late", NEVER, old)?.is_none(),
        "`compare_and_set` accepted the token of an expired entry"
    );
    ensure!(session.add(b"key", b"second", NEVER)?.is_some(), "`add` over an expired entry was refused");
    let found = session.get(b"key")?.ok_or("what was added over an expired entry is lost")?;
    ensure!(found.bytes() == b"second" && found.expires == NEVER, "the expired entry shows through");
    session.close()
}

fn compare_and_set(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let stranger = Token { bytes: [9; 16] };
    ensure!(
        session.compare_and_set(b"key", b"x", NEVER, stranger)?.is_none(),
        "`compare_and_set` of an absent key accepted a token"
    );
    let first = session
        .compare_and_set(b"key", b"1", NEVER, NOBODY)?
        .ok_or("`compare_and_set` with the zero token was refused although no entry is there")?;
    ensure!(
        session.compare_and_set(b"key", b"x", NEVER, NOBODY)?.is_none(),
        "`compare_and_set` with the zero token replaced an entry"
    );
    ensure!(
        session.compare_and_set(b"key", b"x", NEVER, stranger)?.is_none(),
        "`compare_and_set` accepted another token"
    );
    let found = session.get(b"key")?.ok_or("the entry is lost")?;
    ensure!(found.bytes() == b"1" && found.token == first, "a refused `compare_and_set` changed the entry");
    let second =
        session.compare_and_set(b"key", b"2", NEVER, first)?.ok_or("the current token was refused")?;
    ensure!(second != first, "a changed entry kept its token");
    ensure!(session.compare_and_set(b"key", b"x", NEVER, first)?.is_none(), "an old token was accepted");
    session.set(b"key", b"3", NEVER)?;
    ensure!(
        session.compare_and_set(b"key", b"x", NEVER, second)?.is_none(),
        "`set` left the token as it was"
    );
    let found = session.get(b"key")?.ok_or("the entry is lost")?;
    ensure!(found.bytes() == b"3", "expected `3`, found {:?}", found.bytes());
    ensure!(found.token != NOBODY, "an entry made by `set` has the token that means `no entry`");
    ensure!(
        session.compare_and_set(b"key", b"4", NEVER, found.token)?.is_some(),
        "the token that `get` gave was refused"
    );
    session.close()
}

/// A key that was removed and set again is another entry, even with the same value.
fn tokens_never_return(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let mut seen = std::collections::HashSet::new();
    for round in 0..20 {
        let token = session.add(b"key", b"value", NEVER)?.ok_or("`add` of an absent key was refused")?;
        ensure!(seen.insert(token.bytes), "round {round} gave a token that was there before");
        session.set(b"key", b"value", NEVER)?;
        let found = session.get(b"key")?.ok_or("the entry is lost")?;
        ensure!(seen.insert(found.token.bytes), "`set` in round {round} gave a token that was there before");
        if round % 2 == 0 {
            session.delete(b"key")?;
        } else {
            session.clear(b"")?;
        }
    }
    session.close()
}

fn add_race(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for round in 0..20 {
        let key = format!("key-{round}");
        let winners: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|i| {
                    scope.spawn({
                        let (session, key) = (&session, &key);
                        move || {
                            session.add(key.as_bytes(), &[i], NEVER).map(|token| usize::from(token.is_some()))
                        }
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).sum::<Result<usize, _>>()
        })?;
        ensure!(winners == 1, "{winners} of 8 threads added the same key");
    }
    session.close()
}

fn compare_and_set_race(subject: &Subject) -> Outcome {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let session = subject.open()?;
    session.set(b"key", b"0", NEVER)?;
    let racer = || -> Result<(), String> {
        for _ in 0..ROUNDS {
            loop {
                let found =
                    session.get(b"key").map_err(|fault| fault.to_string())?.ok_or("the entry is lost")?;
                let number: u64 =
                    String::from_utf8_lossy(found.bytes()).parse().map_err(|_| "not a number")?;
                let next = (number + 1).to_string();
                let done = session.compare_and_set(b"key", next.as_bytes(), NEVER, found.token);
                if done.map_err(|fault| fault.to_string())?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..THREADS).map(|_| scope.spawn(racer)).collect();
        racers.into_iter().try_for_each(|racer| racer.join().expect("no panic"))
    })?;
    let found = session.get(b"key")?.ok_or("the entry is lost")?;
    let expected = (THREADS * ROUNDS).to_string();
    ensure!(found.bytes() == expected.as_bytes(), "updates were lost: {:?} of {expected}", found.bytes());
    session.close()
}
