//! Two instances on one store, and a store that outlives its instance.

use super::{Check, Subject, MONOTONIC, SECOND, UNIX};
use crate::abi::call::NEVER;
use crate::abi::capability::{CAS, PERSISTENT, SHARED, SUBSCRIBE, TTL};
use crate::conformance::session::Session;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 6] = [
    Check::new("instances-share", SHARED, instances_share),
    Check::new("instances-share-tokens", SHARED | CAS, instances_share_tokens),
    Check::new("instances-are-separate", 0, instances_are_separate).unless(SHARED | PERSISTENT),
    Check::new("entries-persist", PERSISTENT, entries_persist),
    Check::new("expiry-persists", PERSISTENT | TTL, expiry_persists),
    Check::new("subscription", SHARED | SUBSCRIBE, subscription),
];

/// Values are released when the last instance on their store is closed.
fn close_both(one: Session, two: Session) -> Outcome {
    let hosts = [one.shut()?, two.shut()?];
    hosts.iter().try_for_each(|host| host.settle())
}

fn instances_share(subject: &Subject) -> Outcome {
    let (one, two) = (subject.open()?, subject.open()?);
    one.set(b"key", b"value", NEVER)?;
    let found = two.get(b"key")?.ok_or("the other instance does not see an entry")?;
    ensure!(found.bytes() == b"value", "the other instance sees other bytes: {:?}", found.bytes());
    two.set(b"key", b"changed", NEVER)?;
    let found = one.get(b"key")?.ok_or("an entry that the other instance changed is gone")?;
    ensure!(found.bytes() == b"changed", "a change by the other instance is not seen");
    ensure!(two.delete(b"key")?, "the other instance cannot delete an entry");
    ensure!(one.get(b"key")?.is_none(), "an entry that the other instance deleted is still there");
    let host = one.shut()?;
    two.set(b"key", b"after", NEVER)?;
    ensure!(two.get(b"key")?.is_some(), "closing one instance broke the other");
    two.close()?;
    host.settle()
}

fn instances_share_tokens(subject: &Subject) -> Outcome {
    let (one, two) = (subject.open()?, subject.open()?);
    let token = one.add(b"key", b"1", NEVER)?.ok_or("`add` of an absent key was refused")?;
    ensure!(two.add(b"key", b"x", NEVER)?.is_none(), "both instances added the same key");
    let next =
        two.compare_and_set(b"key", b"2", NEVER, token)?.ok_or("the other instance's token was refused")?;
    ensure!(
        one.compare_and_set(b"key", b"x", NEVER, token)?.is_none(),
        "a token was accepted that the other instance replaced"
    );
    ensure!(
        one.compare_and_set(b"key", b"3", NEVER, next)?.is_some(),
        "the other instance's new token was refused"
    );
    close_both(one, two)
}

fn instances_are_separate(subject: &Subject) -> Outcome {
    let (one, two) = (subject.open()?, subject.open()?);
    one.set(b"key", b"value", NEVER)?;
    ensure!(two.get(b"key")?.is_none(), "two instances share entries, although SHARED is not declared");
    close_both(one, two)
}

fn entries_persist(subject: &Subject) -> Outcome {
    let large = vec![b'l'; 2_000_000];
    let session = subject.open()?;
    session.set(b"small", b"value", NEVER)?;
    session.set(b"large", &large, NEVER)?;
    session.set(b"gone", b"value", NEVER)?;
    session.delete(b"gone")?;
    session.close()?;
    let session = subject.open()?;
    let small = session.get(b"small")?.ok_or("a small entry did not outlive its instance")?;
    ensure!(small.bytes() == b"value", "a small entry came back changed");
    let found = session.get(b"large")?.ok_or("a large entry did not outlive its instance")?;
    ensure!(found.bytes() == large, "a large entry came back changed");
    ensure!(session.get(b"gone")?.is_none(), "a deleted entry came back");
    session.close()
}

/// After a restart the monotonic clock starts anew, and Unix time alone says what has expired.
fn expiry_persists(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"short", b"value", 10 * SECOND)?;
    session.set(b"long", b"value", 100 * SECOND)?;
    session.set(b"ever", b"value", NEVER)?;
    session.close()?;
    for (name, monotonic) in [("an earlier", SECOND), ("a later", MONOTONIC + 1_000_000 * SECOND)] {
        let session = subject.open_with(subject.host(monotonic, UNIX + 50 * SECOND))?;
        ensure!(
            session.get(b"short")?.is_none(),
            "with {name} monotonic clock, an entry of 10 s is there after 50 s"
        );
        let found = session.get(b"long")?;
        let found = found
            .ok_or_else(|| format!("with {name} monotonic clock, an entry of 100 s is gone after 50 s"))?;
        let left = found.expires - session.host.now();
        ensure!((left - 50 * SECOND).abs() < SECOND / 10, "an entry of 100 s has {left} ns left after 50 s");
        ensure!(session.get(b"ever")?.is_some(), "an entry without a ttl is gone");
        session.close()?;
    }
    Ok(())
}

fn subscription(subject: &Subject) -> Outcome {
    let (listener, writer) = (subject.open()?, subject.open()?);
    writer.set(b"watched:1", b"value", NEVER)?;
    listener.subscribe(b"watched:")?;
    let told = |key: &[u8]| {
        subject.eventually(|| {
            listener.host.invalidated().iter().any(|each| each.as_deref().is_none_or(|each| each == key))
        })
    };
    writer.set(b"watched:1", b"changed", NEVER)?;
    ensure!(told(b"watched:1"), "a change by the other instance was not reported");
    writer.set(b"watched:2", b"value", NEVER)?;
    ensure!(told(b"watched:2"), "a new entry of the other instance was not reported");
    writer.delete(b"watched:2")?;
    let reports = || listener.host.invalidated().len();
    ensure!(subject.eventually(|| reports() >= 3), "{} reports came of three changes", reports());
    let strange = listener.host.invalidated().into_iter().flatten().find(|key| !key.starts_with(b"watched:"));
    ensure!(strange.is_none(), "a change was reported of a key outside the prefix: {strange:?}");
    close_both(writer, listener)
}
