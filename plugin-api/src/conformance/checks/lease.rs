//! Leases.

use super::{Check, Subject, SECOND};
use crate::abi::call::Lease;
use crate::abi::capability::LEASE;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 4] = [
    Check::new("lease-excludes", LEASE, lease_excludes),
    Check::new("lease-expires", LEASE, lease_expires),
    Check::new("lease-renewal", LEASE, lease_renewal),
    Check::new("lease-race", LEASE, lease_race),
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
