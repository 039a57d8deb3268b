//! References: each is released once, and what is handed out stays.

use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::{capability, status};
use crate::conformance::session::Found;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 7] = [
    Check::new("references-are-released-once", 0, references_are_released_once),
    Check::new("value-outlives-its-entry", 0, value_outlives_its_entry),
    Check::new("exclusive-values-are-shared-with-nobody", capability::EXCLUSIVE, exclusive_values),
    Check::new("claimed-values-are-shared-with-nobody", capability::CLAIM, claimed_values),
    Check::new("objects-keep-their-identity", capability::OBJECTS, objects_keep_their_identity),
    Check::new("objects-are-refused", 0, objects_are_refused).unless(capability::OBJECTS),
    Check::new("evictions-are-reported", capability::EVICTS, evictions_are_reported).bounded(),
];

fn references_are_released_once(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for round in 0..3 {
        for i in 0..50 {
            let key = format!("key-{i}");
            session.set(key.as_bytes(), format!("value {round} {i}").as_bytes(), NEVER)?;
            drop(session.hold(key.as_bytes())?);
        }
    }
    // Replaced, deleted, cleared, expired, and some left to `close`.
    for i in 0..10 {
        session.delete(format!("key-{i}").as_bytes())?;
    }
    session.clear(b"key-1")?;
    session.set(b"short", b"lived", SECOND)?;
    session.host.advance(2 * SECOND);
    session.get(b"short")?;
    if subject.declares(capability::OBJECTS) {
        // A store of objects keeps one reference for each entry, and gives it back without being closed.
        session.clear(b"")?;
        session.flush()?;
        ensure!(
            subject.eventually(|| session.host.references_held() == 0),
            "{} references are held by an empty store",
            session.host.references_held()
        );
    }
    session.set(b"left", b"to close", NEVER)?;
    session.close()
}

fn value_outlives_its_entry(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let large: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
    for (key, value) in [(b"small".as_slice(), b"value".as_slice()), (b"large", &large)] {
        session.set(key, value, NEVER)?;
    }
    let small = session.hold(b"small")?.ok_or("the small value is lost")?;
    let found = session.hold(b"large")?.ok_or("the large value is lost")?;
    let second = found.value.share_bytes().ok_or("the large value is not of bytes")?;
    drop(found);
    session.set(b"large", b"replaced", NEVER)?;
    ensure!(second.as_bytes() == Some(&large), "a value that is held changed when its entry was overwritten");
    session.delete(b"large")?;
    session.clear(b"")?;
    ensure!(second.as_bytes() == Some(&large), "a value that is held changed when its entry was removed");
    ensure!(small.bytes() == b"value", "a small value that is held changed when its entry was removed");
    let host = session.host;
    let closed = session.close();
    // A store that keeps the host's own values shares them with us; those are still held, and said so.
    let shared = host.references_held();
    ensure!(second.as_bytes() == Some(&large), "a value that is held changed when the instance was closed");
    ensure!(small.bytes() == b"value", "a small value that is held changed when the instance was closed");
    drop((second, small));
    if shared > 0 {
        return host.settle();
    }
    closed
}

/// Bytes belong to the reference that `get` gave.
fn exclusive_values(subject: &Subject) -> Outcome {
    written_values(subject, |_| Ok(()))
}

/// Bytes belong to the reference that `get` gave, once it was claimed.
fn claimed_values(subject: &Subject) -> Outcome {
    let claim = subject.table.claim.ok_or("`claim` is missing")?;
    let claimed = |found: &Found| {
        // A second time as well, which changes nothing.
        for _ in 0..2 {
            // SAFETY: the value is held.
            let answer = unsafe { claim(found.value.as_raw()) };
            ensure!(answer == status::OK, "`claim` of a value answers {}", status::name(answer));
        }
        Ok(())
    };
    written_values(subject, claimed)?;
    // Without its entry and its instance too.
    let session = subject.open()?;
    let stored = vec![7; 200_000];
    session.set(b"key", &stored, NEVER)?;
    let (kept, written) = (session.hold(b"key")?, session.hold(b"key")?);
    let (kept, written) = (kept.ok_or("the value is lost")?, written.ok_or("the value is lost")?);
    session.delete(b"key")?;
    session.close()?;
    claimed(&written)?;
    overwrite(&written);
    ensure!(kept.bytes() == stored, "what was written to a value after `close` is seen in another one");
    ensure!(written.bytes()[199_999] == 0xEE, "what was written to a value after `close` did not stay");
    Ok(())
}

fn overwrite(found: &Found) {
    let raw = found.value.as_raw();
    // SAFETY: the bytes belong to this reference alone, as the backend says; no slice of them is alive.
    unsafe { std::ptr::write_bytes(raw.ptr.cast_mut(), 0xEE, raw.len as usize) };
}

/// What one holder writes to its value stays with it: values given before, at the same time and after
/// are as stored.
fn written_values(subject: &Subject, claim: impl Fn(&Found) -> Outcome) -> Outcome {
    let session = subject.open()?;
    for len in [5_u32, 5_000, 100_000, 2_000_000] {
        let stored: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        session.set(b"key", &stored, NEVER)?;
        let before = session.hold(b"key")?.ok_or("the value is lost")?;
        let written = session.hold(b"key")?.ok_or("the value is lost")?;
        claim(&written)?;
        overwrite(&written);
        let after = session.hold(b"key")?.ok_or("the value is lost")?;
        for (found, when) in [(&before, "before"), (&after, "after")] {
            ensure!(
                found.bytes() == stored,
                "what was written to one value of {len} bytes is seen in one given {when} it"
            );
        }
        ensure!(
            written.bytes().iter().all(|byte| *byte == 0xEE),
            "what was written to a value of {len} bytes did not stay"
        );
        // Memory that is used again has lost what its last holder wrote to it.
        drop((before, written, after));
        let again = session.hold(b"key")?.ok_or("the value is lost")?;
        ensure!(again.bytes() == stored, "what was written to a value of {len} bytes that is gone is seen");
        if subject.table.get_many.is_some() {
            let many: Vec<Found> = session
                .get_many(&[b"key", b"key"])?
                .into_iter()
                .filter_map(|item| item.ok().flatten())
                .collect();
            ensure!(many.len() == 2, "a batch lost a value");
            claim(&many[0])?;
            overwrite(&many[0]);
            ensure!(many[1].bytes() == stored, "two values of one batch share their bytes");
            ensure!(again.bytes() == stored, "what was written to a value of a batch is seen outside it");
        }
    }
    session.close()
}

fn objects_keep_their_identity(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let (value, handle) = session.host.object(123);
    session.set_value(b"key", value, NEVER)?;
    ensure!(handle.references() == 1, "a stored object has {} references: expected 1", handle.references());
    let found = session.hold(b"key")?.ok_or("the object is lost")?;
    let raw = found.value.as_raw();
    ensure!(found.value.is_object(), "an object came back as something else");
    ensure!(raw.owner == value.owner && raw.table == value.table, "another object came back");
    ensure!(raw.len == 123, "the object's weight came back as {}: expected 123", raw.len);
    ensure!(
        handle.references() == 2,
        "a stored and held object has {} references: expected 2",
        handle.references()
    );
    let (replacement, second) = session.host.object(5);
    session.set_value(b"key", replacement, NEVER)?;
    drop(found);
    ensure!(subject.eventually(|| handle.references() == 0), "a replaced object was not released");
    session.delete(b"key")?;
    ensure!(subject.eventually(|| second.references() == 0), "a deleted object was not released");
    session.close()
}

fn objects_are_refused(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let (value, handle) = session.host.object(123);
    let fault = match session.set_value(b"key", value, NEVER) {
        Ok(()) => return Err("an object was stored, although OBJECTS is not declared".into()),
        Err(fault) => fault,
    };
    ensure!(
        matches!(fault.status, status::UNSUPPORTED | status::INVALID),
        "an object was refused otherwise than with UNSUPPORTED or INVALID: {fault}"
    );
    ensure!(subject.eventually(|| handle.references() == 0), "a refused object was not released");
    ensure!(session.get(b"key")?.is_none(), "a refused object left an entry");
    session.close()
}

/// Under options that keep 64 KiB, a megabyte leaves entry by entry, and the host hears of each.
fn evictions_are_reported(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let keys: Vec<Vec<u8>> = (0..1024).map(|i| format!("key-{i}").into_bytes()).collect();
    for key in &keys {
        session.set(key, &[b'v'; 1024], NEVER)?;
    }
    let absent = || -> Result<Vec<&Vec<u8>>, crate::conformance::session::Fault> {
        let mut absent = Vec::new();
        for key in &keys {
            if session.get(key)?.is_none() {
                absent.push(key);
            }
        }
        Ok(absent)
    };
    let mut missing = 0;
    let mut unreported = Vec::new();
    let done = subject.eventually(|| {
        let reported: std::collections::HashSet<Vec<u8>> =
            session.host.evicted().into_iter().map(|(key, _)| key).collect();
        let Ok(absent) = absent() else { return false };
        missing = absent.len();
        unreported = absent
            .into_iter()
            .filter(|key| !reported.contains(*key))
            .map(|key| key.escape_ascii().to_string())
            .collect();
        missing > keys.len() / 2 && unreported.is_empty()
    });
    ensure!(
        done,
        "{missing} of {} entries left a store bounded to a sixteenth of them, {} of those without a report ({})",
        keys.len(),
        unreported.len(),
        unreported.first().map_or("", String::as_str)
    );
    for (key, reason) in session.host.evicted() {
        ensure!(
            keys.contains(&key),
            "an eviction of {} was reported, which was never set",
            key.escape_ascii()
        );
        ensure!(
            reason == crate::abi::host::evict::CAPACITY,
            "an eviction has reason {reason}: expected 1 (capacity)"
        );
    }
    session.close()
}
