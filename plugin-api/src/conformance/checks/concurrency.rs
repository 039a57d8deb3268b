//! Many threads on the same keys.

use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::status;
use crate::conformance::session::{Fault, Session};
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 3] = [
    Check::new("threads-on-the-same-keys", 0, threads_on_the_same_keys),
    Check::new("threads-that-clear", 0, threads_that_clear),
    Check::new("quiesce-among-calls", 0, quiesce_among_calls),
];

const THREADS: u32 = 8;
const KEYS: u32 = 16;

/// A value that can be told from a mixture of two: its writer's number throughout, and its key.
fn value(key: u32, writer: u32, round: u32) -> Vec<u8> {
    let mut value = vec![key as u8];
    value.resize(1 + (round % 700) as usize, writer as u8);
    value
}

fn whole(key: u32, bytes: &[u8]) -> bool {
    bytes.first() == Some(&(key as u8)) && bytes[1..].windows(2).all(|pair| pair[0] == pair[1])
}

/// Overload is a fair answer to eight threads.
fn unless_busy<T>(answer: Result<T, Fault>) -> Result<Option<T>, String> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(fault) if fault.status == status::BUSY => Ok(None),
        Err(fault) => Err(fault.to_string()),
    }
}

fn storm(session: &Session, thread: u32, rounds: u32, clear: bool) -> Result<(), String> {
    // A fixed sequence for each thread: failures can be repeated.
    let mut random = thread.wrapping_mul(0x9e37_79b9) | 1;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let key = random % KEYS;
        let name = format!("key-{key}");
        match random >> 8 & 15 {
            0..=4 => drop(unless_busy(session.set(name.as_bytes(), &value(key, thread, round), NEVER))?),
            5 => drop(unless_busy(session.set(name.as_bytes(), &value(key, thread, round), SECOND))?),
            6 => drop(unless_busy(session.delete(name.as_bytes()))?),
            7 if clear => drop(unless_busy(session.clear(b"key-1"))?),
            _ => {
                let found = unless_busy(session.get(name.as_bytes()))?.flatten();
                if let Some(found) = found.filter(|found| !whole(key, found.bytes())) {
                    return Err(format!("a torn value of {name}: {}", found.bytes().escape_ascii()));
                }
            }
        }
    }
    Ok(())
}

fn storms(subject: &Subject, rounds: u32, clear: bool) -> Outcome {
    let session = subject.open()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let session = &session;
                    move || storm(session, thread + 1, rounds, clear)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    session.close()
}

fn threads_on_the_same_keys(subject: &Subject) -> Outcome {
    storms(subject, 500, false)
}

fn threads_that_clear(subject: &Subject) -> Outcome {
    storms(subject, 300, true)
}

fn quiesce_among_calls(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    std::thread::scope(|scope| -> Result<(), String> {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn({
                    let session = &session;
                    move || storm(session, thread + 1, 200, false)
                })
            })
            .collect();
        for _ in 0..3 {
            session.quiesce().map_err(|fault| fault.to_string())?;
        }
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    session.set(b"after", b"value", NEVER)?;
    ensure!(session.get(b"after")?.is_some(), "the store does not work after `quiesce` among calls");
    session.close()
}
