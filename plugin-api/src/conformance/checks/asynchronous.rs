//! Pending operations: one completion each, whatever happens.

use super::{Check, Subject};
use crate::abi::call::{Item, NEVER};
use crate::abi::capability::ASYNC;
use crate::abi::status;
use crate::conformance::{ensure, Mode, Outcome};

pub(super) const CHECKS: [Check; 4] = [
    Check::new("pending-completes", ASYNC, pending_completes).only(Mode::Pending),
    Check::new("many-in-flight", ASYNC, many_in_flight).only(Mode::Pending),
    Check::new("cancel", ASYNC, cancel).only(Mode::Pending),
    Check::new("close-completes", ASYNC, close_completes).only(Mode::Pending),
];

/// A backend that says ASYNC is pending at least sometimes, and copies what it was given.
fn pending_completes(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    let mut pending = 0;
    for _ in 0..20 {
        let mut key = b"key".to_vec();
        let mut item = Item::EMPTY;
        let (op, answer) = session.begin_get(&key, &mut item);
        key.fill(b'!');
        drop(key);
        if answer != status::PENDING {
            ensure!(answer == status::OK, "`get` answered {}", status::name(answer));
            // SAFETY: the plugin's reference is ours.
            unsafe { item.value.release() };
            continue;
        }
        pending += 1;
        let completion = session.host.wait(op).ok_or("`get` answered PENDING and did not complete")?;
        ensure!(
            completion.status == status::OK,
            "`get` was completed with {}",
            status::name(completion.status)
        );
        let found = completion.items.first().and_then(|(_, value, ..)| value.as_bytes());
        ensure!(found == Some(b"value"), "`get` was completed with {found:?}");
    }
    ensure!(pending > 0, "ASYNC is declared, but no call of 20 was answered with PENDING");
    session.close()
}

fn many_in_flight(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    let mut items = vec![Item::EMPTY; 500];
    let mut waiting = Vec::new();
    for item in &mut items {
        let (op, answer) = session.begin_get(b"key", item);
        match answer {
            status::PENDING => waiting.push(op),
            // SAFETY: the plugin's reference is ours.
            status::OK => unsafe { item.value.release() },
            status::BUSY => {}
            other => return Err(format!("`get` answered {}", status::name(other)).into()),
        }
    }
    for op in &waiting {
        let completion = session.host.wait(*op).ok_or("one of 500 pending operations did not complete")?;
        ensure!(
            matches!(completion.status, status::OK | status::BUSY),
            "one of 500 pending operations completed with {}",
            status::name(completion.status)
        );
    }
    session.close()
}

fn cancel(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    session.cancel(u64::MAX);
    for _ in 0..100 {
        let mut item = Item::EMPTY;
        let (op, answer) = session.begin_get(b"key", &mut item);
        session.cancel(op);
        if answer != status::PENDING {
            // SAFETY: the plugin's reference is ours, where there is one.
            unsafe { item.value.release() };
            continue;
        }
        let completion = session.host.wait(op).ok_or("a cancelled operation did not complete")?;
        ensure!(
            matches!(completion.status, status::OK | status::CANCELLED),
            "a cancelled operation completed with {}: expected ok or cancelled",
            status::name(completion.status)
        );
        session.cancel(op);
        ensure!(session.host.completions(op) == 1, "a cancelled operation completed more than once");
    }
    ensure!(session.get(b"key")?.is_some(), "a cancelled `get` lost the entry");
    session.close()
}

fn close_completes(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    let host = session.host;
    let mut items = vec![Item::EMPTY; 100];
    let mut waiting = Vec::new();
    for item in &mut items {
        let (op, answer) = session.begin_get(b"key", item);
        if answer == status::PENDING {
            waiting.push(op);
        } else {
            // SAFETY: the plugin's reference is ours, where there is one.
            unsafe { item.value.release() };
        }
    }
    let closed = session.close();
    let open = waiting.iter().filter(|op| host.completions(**op) == 0).count();
    ensure!(open == 0, "{open} operations were still pending when `close` returned");
    // Their values are ours until the completions are dropped.
    for op in waiting {
        drop(host.wait(op));
    }
    ensure!(subject.eventually(|| host.references_held() == 0), "`close` left references behind");
    closed.or_else(|_| host.settle())
}
