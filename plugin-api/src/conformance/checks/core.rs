//! Reading, writing, removing.

use super::{Check, Subject};
use crate::abi::call::NEVER;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 9] = [
    Check::new("missing-key", 0, missing_key),
    Check::new("set-then-get", 0, set_then_get),
    Check::new("overwrite", 0, overwrite),
    Check::new("delete", 0, delete),
    Check::new("keys-are-bytes", 0, keys_are_bytes),
    Check::new("values-of-all-sizes", 0, values_of_all_sizes),
    Check::new("clear-by-prefix", 0, clear_by_prefix),
    Check::new("clear-everything", 0, clear_everything),
    Check::new("deadline-in-the-past", 0, deadline_in_the_past),
];

/// Keys that are hard for somebody: empty, binary, not UTF-8, with a database's wildcards, long.
pub(super) fn awkward_keys() -> Vec<Vec<u8>> {
    vec![
        b"".to_vec(),
        b"\0".to_vec(),
        b"\0\0".to_vec(),
        b"a".to_vec(),
        b"a\0".to_vec(),
        b"a\0b".to_vec(),
        b"A".to_vec(),
        b"%".to_vec(),
        b"_".to_vec(),
        b"a%_*?[x]\\'\"".to_vec(),
        b"../../etc/passwd".to_vec(),
        b"line\r\nbreak".to_vec(),
        "schlüssel-鍵".as_bytes().to_vec(),
        vec![0xff],
        vec![0xff, 0xff],
        vec![0xff, 0xfe, 0x80, 0xc3],
        (0..=255).collect(),
        vec![b'k'; 10_000],
        [vec![b'k'; 9_999], vec![b'l']].concat(),
    ]
}

fn missing_key(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    ensure!(session.get(b"absent")?.is_none(), "`get` found a key that was never set");
    ensure!(!session.delete(b"absent")?, "`delete` removed a key that was never set");
    ensure!(session.clear(b"absent")? == 0, "`clear` removed something from an empty store");
    session.close()
}

fn set_then_get(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    for _ in 0..3 {
        let Some(found) = session.get(b"key")? else {
            return Err("`get` does not find what was set".into());
        };
        ensure!(found.bytes() == b"value", "`get` gave other bytes: {:?}", found.bytes());
        ensure!(found.expires == NEVER, "an entry without a ttl expires at {}", found.expires);
    }
    session.close()
}

fn overwrite(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for value in [b"first".as_slice(), b"", b"the third is longer", b"4"] {
        session.set(b"key", value, NEVER)?;
        let found = session.get(b"key")?.ok_or("an overwritten entry is gone")?;
        ensure!(found.bytes() == value, "expected {value:?} after overwriting, found {:?}", found.bytes());
    }
    session.close()
}

fn delete(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    session.set(b"other", b"value", NEVER)?;
    ensure!(session.delete(b"key")?, "`delete` says that a present key was not there");
    ensure!(session.get(b"key")?.is_none(), "a deleted key is still there");
    ensure!(!session.delete(b"key")?, "`delete` removed the same key twice");
    ensure!(session.get(b"other")?.is_some(), "`delete` took another key along");
    session.set(b"key", b"again", NEVER)?;
    let found = session.get(b"key")?.ok_or("a key cannot be set again after `delete`")?;
    ensure!(found.bytes() == b"again", "a key that was set again has other bytes: {:?}", found.bytes());
    session.close()
}

fn keys_are_bytes(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let keys = awkward_keys();
    for (i, key) in keys.iter().enumerate() {
        session.set(key, format!("value {i}").as_bytes(), NEVER)?;
    }
    for (i, key) in keys.iter().enumerate() {
        let found = session.get(key)?.ok_or_else(|| format!("key {} is lost", key.escape_ascii()))?;
        ensure!(
            found.bytes() == format!("value {i}").as_bytes(),
            "key {} has another key's value",
            key.escape_ascii()
        );
    }
    for (i, key) in keys.iter().enumerate() {
        ensure!(session.delete(key)?, "key {} cannot be deleted", key.escape_ascii());
        for later in &keys[i + 1..] {
            ensure!(
                session.get(later)?.is_some(),
                "deleting key {} took {} along",
                key.escape_ascii(),
                later.escape_ascii()
            );
        }
    }
    session.close()
}

fn values_of_all_sizes(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for size in [0, 1, 100, 4_095, 4_096, 4_097, 70_000, 1 << 20, 5 << 20] {
        let value: Vec<u8> = (0..size).map(|i: usize| (i.wrapping_mul(31) ^ (i >> 8) ^ size) as u8).collect();
        session.set(b"key", &value, NEVER)?;
        let found = session.get(b"key")?.ok_or_else(|| format!("a value of {size} bytes is lost"))?;
        ensure!(found.bytes() == value, "a value of {size} bytes came back changed");
    }
    session.close()
}

fn clear_by_prefix(subject: &Subject) -> Outcome {
    // Each prefix with keys that it covers; prefixes that a wildcard or an upper bound gets wrong.
    let groups: [(&[u8], [&[u8]; 3]); 6] = [
        (b"plain:", [b"plain:1", b"plain:2", b"plain:"]),
        (b"per%cent", [b"per%cent", b"per%centx", b"per%cent%"]),
        (b"under_score", [b"under_score1", b"under_score2", b"under_score_"]),
        (b"star*", [b"star*", b"star*x", b"star*\0"]),
        (b"z\xff", [b"z\xff", b"z\xff\xff", b"z\xff\xff\xff"]),
        (b"\xff\xff", [b"\xff\xff", b"\xff\xff\xff", b"\xff\xff\0"]),
    ];
    let bystanders: [&[u8]; 8] =
        [b"plain", b"plain;", b"perXcent", b"underXscore1", b"starfish", b"z", b"{", b"\xff"];
    let session = subject.open()?;
    for key in groups.iter().flat_map(|(_, keys)| keys).chain(&bystanders) {
        session.set(key, key, NEVER)?;
    }
    for (i, (prefix, keys)) in groups.iter().enumerate() {
        let removed = session.clear(prefix)?;
        ensure!(removed == 3, "`clear` of {} removed {removed} entries: expected 3", prefix.escape_ascii());
        for key in keys {
            ensure!(session.get(key)?.is_none(), "{} outlived its prefix", key.escape_ascii());
        }
        for key in groups[i + 1..].iter().flat_map(|(_, keys)| keys).chain(&bystanders) {
            ensure!(
                session.get(key)?.is_some(),
                "`clear` of {} took {} along",
                prefix.escape_ascii(),
                key.escape_ascii()
            );
        }
    }
    session.close()
}

fn clear_everything(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let keys = awkward_keys();
    for key in &keys {
        session.set(key, b"value", NEVER)?;
    }
    let removed = session.clear(b"")?;
    ensure!(removed == keys.len() as u64, "`clear` removed {removed} of {} entries", keys.len());
    for key in &keys {
        ensure!(session.get(key)?.is_none(), "key {} outlived `clear`", key.escape_ascii());
    }
    ensure!(session.clear(b"")? == 0, "`clear` removed something from an empty store");
    session.close()
}

fn deadline_in_the_past(subject: &Subject) -> Outcome {
    use crate::abi::status;
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    match session.get_until(b"key", session.host.now() - super::SECOND) {
        Ok(Some(found)) => ensure!(found.bytes() == b"value", "a late call gave other bytes"),
        Ok(None) => {
            return Err("a late call denies an entry that is there: expected the entry or TIMEOUT".into())
        }
        Err(fault) => ensure!(
            matches!(fault.status, status::TIMEOUT | status::BUSY),
            "a late call failed otherwise than with TIMEOUT or BUSY: {fault}"
        ),
    }
    session.close()
}
