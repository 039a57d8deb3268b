//! Many at once, with a status for each.

use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::{capability, status};
use crate::conformance::session::Session;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 3] = [
    Check::new("batches", 0, batches),
    Check::new("empty-batches", 0, empty_batches),
    Check::new("large-batches", 0, large_batches),
];

/// Whether the three functions are there; they need no capability, so a host works without.
fn has_batches(session: &Session) -> bool {
    let table = session.table();
    table.get_many.is_some() && table.set_many.is_some() && table.delete_many.is_some()
}

fn batches(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    if !has_batches(&session) {
        return session.close();
    }
    let ttl = if subject.declares(capability::TTL) { SECOND } else { NEVER };
    let set = session.set_many(&[
        (b"a", b"1", NEVER),
        (b"b", b"", NEVER),
        (b"\0", b"3", ttl),
        (b"a", b"4", NEVER),
    ])?;
    ensure!(set == [status::OK; 4], "`set_many` answered {set:?}");
    let keys: [&[u8]; 5] = [b"b", b"absent", b"a", b"\0", b"a"];
    let found = session.get_many(&keys)?;
    let values: Vec<Option<&[u8]>> = found
        .iter()
        .map(|each| each.as_ref().ok().and_then(|found| found.as_ref()).map(|found| found.bytes()))
        .collect();
    let expected: [Option<&[u8]>; 5] = [Some(b""), None, Some(b"4"), Some(b"3"), Some(b"4")];
    ensure!(
        values == expected,
        "`get_many` found {values:?}: expected {expected:?} (the last of two sets wins)"
    );
    drop(found);
    if ttl != NEVER {
        session.host.advance(2 * SECOND);
        let found = session.get_many(&[b"\0", b"a"])?;
        ensure!(matches!(found[0], Ok(None)), "`get_many` found an expired entry");
        ensure!(matches!(found[1], Ok(Some(_))), "`get_many` lost an entry without a ttl");
    }
    let removed = session.delete_many(&[b"absent", b"a", b"b", b"a"])?;
    let expected = [status::NOT_FOUND, status::OK, status::OK, status::NOT_FOUND];
    ensure!(removed == expected, "`delete_many` answered {removed:?}: expected {expected:?}");
    ensure!(session.get(b"a")?.is_none(), "`delete_many` left an entry");
    session.close()
}

fn empty_batches(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    if has_batches(&session) {
        session.get_many(&[])?;
        session.set_many(&[])?;
        session.delete_many(&[])?;
    }
    session.close()
}

fn large_batches(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    if !has_batches(&session) {
        return session.close();
    }
    let keys: Vec<Vec<u8>> = (0..2_000).map(|i| format!("key-{i}").into_bytes()).collect();
    let entries: Vec<(&[u8], &[u8], i64)> =
        keys.iter().map(|key| (key.as_slice(), key.as_slice(), NEVER)).collect();
    let set = session.set_many(&entries)?;
    ensure!(set.iter().all(|each| *each == status::OK), "`set_many` of 2000 failed for some");
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    for (key, found) in keys.iter().zip(session.get_many(&keys)?) {
        let found =
            found.map_err(|each| format!("`get_many` of 2000 answered {} for one", status::name(each)))?;
        let found = found.ok_or("`get_many` of 2000 lost one")?;
        ensure!(found.bytes() == *key, "`get_many` of 2000 mixed its items up");
    }
    let removed = session.delete_many(&keys)?;
    ensure!(removed.iter().all(|each| *each == status::OK), "`delete_many` of 2000 failed for some");
    session.close()
}
