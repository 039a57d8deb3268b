//! Leases.

use std::sync::Mutex;

use super::{Check, Subject, MONOTONIC, SECOND, UNIX};
use crate::abi::call::{Lease, NEVER};
use crate::abi::capability::{LEASE, PERSISTENT, SHARED};
use crate::abi::status;
use crate::conformance::session::Session;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 9] = [
    Check::new("lease-excludes", LEASE, lease_excludes),
    Check::new("lease-expires", LEASE, lease_expires),
    Check::new("lease-renewal", LEASE, lease_renewal),
    Check::new("lease-of-another", LEASE, lease_of_another),
    Check::new("lease-fences-grow", LEASE, lease_fences_grow),
    Check::new("lease-race", LEASE, lease_race),
    Check::new("lease-handover", LEASE, lease_handover),
    Check::new("instances-share-leases", LEASE | SHARED, instances_share_leases),
    Check::new("leases-persist", LEASE | PERSISTENT, leases_persist),
];

const REFUSED: &str = "a free lease was refused";

fn lease_excludes(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let first = session.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    ensure!(session.lease_acquire(b"name", 10 * SECOND)?.is_none(), "a lease was given twice");
    session.lease_acquire(b"other", 10 * SECOND)?.ok_or("another name's lease was refused")?;
    ensure!(session.get(b"name")?.is_none(), "a lease shows up as an entry");
    session.clear(b"")?;
    ensure!(session.lease_acquire(b"name", 10 * SECOND)?.is_none(), "`clear` gave a lease away");
    let mut forged = first;
    forged.holder.bytes[0] ^= 1;
    ensure!(!session.lease_release(b"name", &forged)?, "somebody else released a lease");
    ensure!(session.lease_release(b"name", &first)?, "the holder could not release its lease");
    ensure!(!session.lease_release(b"name", &first)?, "a lease was released twice");
    let second = session.lease_acquire(b"name", 10 * SECOND)?.ok_or("a released lease was refused")?;
    ensure!(second.fence > first.fence, "the fence went from {} to {}", first.fence, second.fence);
    ensure!(second.holder != first.holder, "two acquisitions have the same holder");
    ensure!(!session.lease_release(b"name", &first)?, "an earlier holder released a lease");
    session.close()
}

fn lease_expires(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let first = session.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    session.host.advance(9 * SECOND);
    ensure!(session.lease_acquire(b"name", 10 * SECOND)?.is_none(), "a lease of 10 s was free after 9 s");
    session.host.advance(2 * SECOND);
    ensure!(!session.lease_renew(b"name", 10 * SECOND, &first)?, "a lease was renewed after it had expired");
    ensure!(!session.lease_release(b"name", &first)?, "a lease was released after it had expired");
    let second = session.lease_acquire(b"name", 10 * SECOND)?.ok_or("an expired lease was refused")?;
    ensure!(second.fence > first.fence, "the fence went from {} to {}", first.fence, second.fence);
    ensure!(!session.lease_renew(b"name", 10 * SECOND, &first)?, "a lost lease was renewed");
    ensure!(!session.lease_release(b"name", &first)?, "a lost lease was released");
    ensure!(session.lease_renew(b"name", 10 * SECOND, &second)?, "the second holder could not renew");
    session.close()
}

fn lease_renewal(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let absent = Lease { holder: crate::abi::call::Token { bytes: [3; 16] }, fence: 1 };
    ensure!(!session.lease_renew(b"name", SECOND, &absent)?, "a lease that nobody took was renewed");
    let lease = session.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    for _ in 0..3 {
        session.host.advance(8 * SECOND);
        ensure!(session.lease_renew(b"name", 10 * SECOND, &lease)?, "a held lease could not be renewed");
    }
    ensure!(session.lease_acquire(b"name", SECOND)?.is_none(), "a renewed lease was given to another");
    session.host.advance(11 * SECOND);
    ensure!(session.lease_acquire(b"name", SECOND)?.is_some(), "a lease outlived its last renewal");
    session.close()
}

/// Only who has both the holder and the fence of this very name has the lease.
fn lease_of_another(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let lease = session.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    let other = session.lease_acquire(b"other", 10 * SECOND)?.ok_or(REFUSED)?;
    let mut forged = lease;
    forged.holder.bytes[15] ^= 1;
    for (who, lease) in [("another name's holder", other), ("somebody else", forged)] {
        ensure!(!session.lease_renew(b"name", 100 * SECOND, &lease)?, "{who} renewed a lease");
        ensure!(!session.lease_release(b"name", &lease)?, "{who} released a lease");
    }
    ensure!(session.lease_acquire(b"name", SECOND)?.is_none(), "a lease was free after others had tried");
    ensure!(
        session.lease_renew(b"other", SECOND, &other)?,
        "a lease was lost by what its holder did elsewhere"
    );
    session.host.advance(11 * SECOND);
    ensure!(session.lease_acquire(b"name", SECOND)?.is_some(), "a refused renewal prolonged the lease");
    session.close()
}

/// Whatever became of the one before.
fn lease_fences_grow(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let mut last = 0;
    for round in 0..30 {
        let lease = session.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
        ensure!(lease.fence > last, "round {round}: the fence went from {last} to {}", lease.fence);
        last = lease.fence;
        match round % 4 {
            0 => ensure!(session.lease_release(b"name", &lease)?, "a held lease could not be released"),
            1 => session.host.advance(11 * SECOND),
            2 => {
                session.host.advance(11 * SECOND);
                // What is over may be forgotten here.
                session.clear(b"")?;
                session.quiesce()?;
            }
            _ => {
                session.lease_renew(b"name", 2 * SECOND, &lease)?;
                ensure!(session.lease_acquire(b"name", SECOND)?.is_none(), "a lease was given twice");
                session.host.advance(3 * SECOND);
            }
        }
    }
    session.close()
}

fn lease_race(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    for round in 0..20 {
        let name = format!("name-{round}");
        let winners: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        session
                            .lease_acquire(name.as_bytes(), SECOND)
                            .map(|lease| usize::from(lease.is_some()))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).sum::<Result<usize, _>>()
        })?;
        ensure!(winners == 1, "{winners} of 8 threads hold the same lease");
    }
    session.close()
}

/// Threads that take turns: never two at once, and each with a greater fence than all before.
fn lease_handover(subject: &Subject) -> Outcome {
    const TURNS: usize = 10;
    let session = subject.open()?;
    let (inside, fences) = (Mutex::new(()), Mutex::new(Vec::new()));
    let racer = || -> Result<(), String> {
        let mut turns = 0;
        while turns < TURNS {
            let lease = match session.lease_acquire(b"name", 1000 * SECOND) {
                Ok(Some(lease)) => lease,
                Ok(None) => {
                    std::thread::yield_now();
                    continue;
                }
                // Overload is a fair answer to eight threads.
                Err(fault) if fault.status == status::BUSY => continue,
                Err(fault) => return Err(fault.to_string()),
            };
            let alone = inside.try_lock().map_err(|_| "two threads hold one lease")?;
            fences.lock().map_err(|_| "a thread panicked")?.push(lease.fence);
            std::thread::yield_now();
            drop(alone);
            while !release(&session, &lease)? {}
            turns += 1;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(racer)).collect();
        racers.into_iter().try_for_each(|racer| racer.join().expect("no panic"))
    })?;
    let fences = fences.into_inner()?;
    ensure!(fences.len() == 8 * TURNS, "{} turns were taken of {}", fences.len(), 8 * TURNS);
    ensure!(fences.windows(2).all(|pair| pair[0] < pair[1]), "fences did not grow: {fences:?}");
    session.close()
}

/// `false` where there was too much to do.
fn release(session: &Session, lease: &Lease) -> Result<bool, String> {
    match session.lease_release(b"name", lease) {
        Ok(true) => Ok(true),
        Ok(false) => Err("the holder could not release its lease".to_owned()),
        Err(fault) if fault.status == status::BUSY => Ok(false),
        Err(fault) => Err(fault.to_string()),
    }
}

fn instances_share_leases(subject: &Subject) -> Outcome {
    let (one, two) = (subject.open()?, subject.open()?);
    let first = one.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    ensure!(two.lease_acquire(b"name", 10 * SECOND)?.is_none(), "two instances have the same lease");
    ensure!(two.lease_renew(b"name", 10 * SECOND, &first)?, "a lease cannot be handed to another instance");
    ensure!(one.lease_release(b"name", &first)?, "the holder could not release its lease");
    let second = two.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    ensure!(second.fence > first.fence, "the fence went from {} to {}", first.fence, second.fence);
    let hosts = [one.shut()?, two.shut()?];
    hosts.iter().try_for_each(|host| host.settle())
}

/// The holder is gone without a word; after a restart the monotonic clock starts anew.
fn leases_persist(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    let first = session.lease_acquire(b"name", 10 * SECOND)?.ok_or(REFUSED)?;
    session.close()?;
    let mut last = first.fence;
    for (name, monotonic, after) in [("an earlier", SECOND, 5), ("a later", MONOTONIC + 1_000 * SECOND, 6)] {
        let session = subject.open_with(subject.host(monotonic, UNIX + after * SECOND))?;
        let found = session.lease_acquire(b"name", 10 * SECOND)?;
        ensure!(found.is_none(), "with {name} monotonic clock, a lease of 10 s is free after {after} s");
        session.close()?;
    }
    let session = subject.open_with(subject.host(SECOND, UNIX + 8 * SECOND))?;
    ensure!(session.lease_renew(b"name", 10 * SECOND, &first)?, "a lease did not outlive its instance");
    session.close()?;
    for after in [30, 60, 90] {
        let session = subject.open_with(subject.host(MONOTONIC, UNIX + after * SECOND))?;
        let lease = session.lease_acquire(b"name", 10 * SECOND)?;
        let lease = lease.ok_or_else(|| format!("a lease of 10 s is still held at {after} s"))?;
        ensure!(lease.fence > last, "after a restart the fence went from {last} to {}", lease.fence);
        last = lease.fence;
        ensure!(session.lease_release(b"name", &lease)?, "the holder could not release its lease");
        session.close()?;
    }
    Ok(())
}
