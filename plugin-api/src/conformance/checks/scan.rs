//! Listing and counting keys.

use std::collections::HashSet;

use super::core::awkward_keys;
use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::capability::{SCAN, TTL};
use crate::conformance::session::Session;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 5] = [
    Check::new("scan-pages", SCAN, scan_pages),
    Check::new("scan-patterns", SCAN, scan_patterns),
    Check::new("scan-awkward-keys", SCAN, scan_awkward_keys),
    Check::new("scan-while-changing", SCAN, scan_while_changing),
    Check::new("scan-skips-expired", SCAN | TTL, scan_skips_expired),
];

/// All keys of a scan, page by page.
fn all_keys(
    session: &Session,
    prefix: &[u8],
    pattern: &[u8],
    limit: u64,
) -> Result<HashSet<Vec<u8>>, String> {
    let mut keys = HashSet::new();
    let mut cursor = 0;
    for _ in 0..100_000 {
        let (page, next) = session.scan(prefix, pattern, cursor, limit).map_err(|fault| fault.to_string())?;
        if page.len() as u64 > limit {
            return Err(format!("a page of at most {limit} keys holds {}", page.len()));
        }
        keys.extend(page);
        if next == 0 {
            return Ok(keys);
        }
        cursor = next;
    }
    Err("a scan does not end".to_owned())
}

fn scan_pages(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let mut expected = HashSet::new();
    ensure!(all_keys(&session, b"", b"", 10)?.is_empty(), "an empty store lists keys");
    ensure!(session.count(b"")? == 0, "an empty store counts keys");
    for i in 0..250 {
        let key = format!("page-{i}").into_bytes();
        session.set(&key, b"value", NEVER)?;
        session.set(format!("other-{i}").as_bytes(), b"value", NEVER)?;
        expected.insert(key);
    }
    for limit in [1, 7, 250, 10_000] {
        let found = all_keys(&session, b"page-", b"", limit)?;
        ensure!(found == expected, "a scan by pages of {limit} found {} keys: expected 250", found.len());
    }
    ensure!(session.count(b"page-")? == 250, "`count` of a prefix gave {}", session.count(b"page-")?);
    ensure!(session.count(b"")? == 500, "`count` of everything gave {}", session.count(b"")?);
    ensure!(session.count(b"absent")? == 0, "`count` found keys of a prefix that nothing has");
    session.close()
}

fn scan_patterns(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let keys: [&[u8]; 9] =
        [b"user:1", b"user:2", b"user:10", b"user:x", b"user:*", b"user:[", b"User:1", b"us", b"user:1:name"];
    for key in keys {
        session.set(key, b"value", NEVER)?;
    }
    type Expectation = (&'static [u8], &'static [u8], &'static [&'static [u8]]);
    let expectations: [Expectation; 9] = [
        (b"", b"user:?", &[b"user:1", b"user:2", b"user:x", b"user:*", b"user:["]),
        (b"", b"user:[0-9]", &[b"user:1", b"user:2"]),
        (b"", b"user:[!0-9]", &[b"user:x", b"user:*", b"user:["]),
        (b"", b"user:\\*", &[b"user:*"]),
        (b"", b"user:1*", &[b"user:1", b"user:10", b"user:1:name"]),
        (b"", b"*name", &[b"user:1:name"]),
        (b"user:1", b"*", &[b"user:1", b"user:10", b"user:1:name"]),
        (b"user:", b"*:name", &[b"user:1:name"]),
        (b"user:", b"name", &[]),
    ];
    for (prefix, pattern, expected) in expectations {
        let found = all_keys(&session, prefix, pattern, 4)?;
        let expected: HashSet<Vec<u8>> = expected.iter().map(|key| key.to_vec()).collect();
        let show = |keys: &HashSet<Vec<u8>>| {
            let mut keys: Vec<String> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
            keys.sort();
            keys.join(", ")
        };
        ensure!(
            found == expected,
            "prefix `{}` and pattern `{}` found [{}]: expected [{}]",
            prefix.escape_ascii(),
            pattern.escape_ascii(),
            show(&found),
            show(&expected)
        );
    }
    session.close()
}

fn scan_awkward_keys(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let keys: HashSet<Vec<u8>> = awkward_keys().into_iter().collect();
    for key in &keys {
        session.set(key, b"value", NEVER)?;
    }
    let found = all_keys(&session, b"", b"", 3)?;
    ensure!(
        found == keys,
        "a scan found {} of {} awkward keys",
        found.intersection(&keys).count(),
        keys.len()
    );
    for prefix in [b"a".as_slice(), b"\0", b"\xff", b"%", b"kkk"] {
        let expected: HashSet<Vec<u8>> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        let found = all_keys(&session, prefix, b"", 2)?;
        ensure!(
            found == expected,
            "prefix {} found {} keys: expected {}",
            prefix.escape_ascii(),
            found.len(),
            expected.len()
        );
        let count = session.count(prefix)?;
        ensure!(count == expected.len() as u64, "`count` of prefix {} gave {count}", prefix.escape_ascii());
    }
    session.close()
}

/// Keys that are there from the first page to the last are listed, whatever happens around them.
fn scan_while_changing(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let lasting: HashSet<Vec<u8>> = (0..200).map(|i| format!("lasting-{i}").into_bytes()).collect();
    for key in &lasting {
        session.set(key, b"value", NEVER)?;
    }
    for i in 0..200 {
        session.set(format!("passing-{i}").as_bytes(), b"value", NEVER)?;
    }
    let mut found = HashSet::new();
    let (mut cursor, mut step) = (0, 0);
    loop {
        let (page, next) = session.scan(b"", b"", cursor, 10)?;
        found.extend(page);
        if next == 0 {
            break;
        }
        cursor = next;
        session.delete(format!("passing-{}", step % 200).as_bytes())?;
        session.set(format!("new-{step}").as_bytes(), b"value", NEVER)?;
        step += 1;
        ensure!(step < 10_000, "a scan does not end while keys are added");
    }
    let lost = lasting.difference(&found).count();
    ensure!(lost == 0, "a scan missed {lost} of 200 keys that were there throughout");
    session.close()
}

fn scan_skips_expired(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for i in 0..20 {
        let ttl = if i % 2 == 0 { SECOND } else { NEVER };
        session.set(format!("key-{i}").as_bytes(), b"value", ttl)?;
    }
    session.host.advance(2 * SECOND);
    let found = all_keys(&session, b"key-", b"", 7)?;
    ensure!(found.len() == 10, "a scan lists {} keys: expected the 10 that have not expired", found.len());
    let count = session.count(b"")?;
    ensure!(count == 10, "`count` gives {count}: expected the 10 entries that have not expired");
    session.close()
}
