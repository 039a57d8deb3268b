//! From quiesce to close, fork, and what an instance says of itself.

use super::{Check, Subject, SECOND};
use crate::abi::call::NEVER;
use crate::abi::capability::{ASYNC, FORK};
use crate::conformance::session::Session;
use crate::conformance::{ensure, Outcome};

pub(super) const CHECKS: [Check; 6] = [
    Check::new("open-and-close", 0, open_and_close),
    Check::new("quiesced-still-answers", 0, quiesced_still_answers),
    Check::new("ping-and-flush", 0, ping_and_flush),
    Check::new("statistics", 0, statistics),
    Check::new("fork-hooks", FORK, fork_hooks),
    // A real fork waits for no other thread of the plugin, so it is made where the answer is on return.
    Check::new("fork", FORK, fork).only(crate::conformance::Mode::Ready).unless(ASYNC),
];

fn open_and_close(subject: &Subject) -> Outcome {
    for _ in 0..20 {
        subject.open()?.close()?;
    }
    Ok(())
}

fn works(session: &Session, when: &str) -> Outcome {
    session.set(b"works", when.as_bytes(), NEVER)?;
    let found = session.get(b"works")?.ok_or_else(|| format!("{when}, an entry is lost"))?;
    ensure!(found.bytes() == when.as_bytes(), "{when}, an entry has other bytes");
    ensure!(session.delete(b"works")?, "{when}, an entry cannot be deleted");
    Ok(())
}

fn quiesced_still_answers(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    for _ in 0..2 {
        session.quiesce()?;
        let found = session.get(b"key")?.ok_or("`quiesce` lost an entry")?;
        ensure!(found.bytes() == b"value", "`quiesce` changed an entry");
        works(&session, "after quiesce")?;
    }
    session.close()
}

fn ping_and_flush(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    if session.table().ping.is_some() {
        session.ping()?;
    }
    session.set(b"key", b"value", NEVER)?;
    if session.table().flush.is_some() {
        session.flush()?;
    }
    ensure!(session.get(b"key")?.is_some(), "`flush` lost an entry");
    session.close()
}

fn statistics(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    if session.table().statistics.is_none() {
        return session.close();
    }
    for i in 0..10 {
        session.set(format!("key-{i}").as_bytes(), b"value", NEVER)?;
    }
    let statistics = session.statistics()?;
    let object = statistics.as_object().ok_or_else(|| format!("expected an object, found {statistics}"))?;
    for (name, value) in object {
        ensure!(value.is_number(), "`{name}` is {value}: expected a number");
    }
    if let Some(entries) = object.get("entries") {
        ensure!(entries.as_f64() == Some(10.0), "`entries` is {entries} after ten sets: expected 10");
    }
    session.close()
}

/// The hooks in the order of a fork, in one process.
fn fork_hooks(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let (table, instance) = (*session.table(), session.instance());
    let hook = |hook: Option<unsafe extern "C" fn(*mut std::ffi::c_void)>| {
        // SAFETY: the instance is open.
        unsafe { hook.expect("FORK is declared")(instance) }
    };
    session.set(b"key", b"value", NEVER)?;
    for _ in 0..3 {
        hook(table.fork_prepare);
        hook(table.fork_parent);
        ensure!(session.get(b"key")?.is_some(), "the parent lost an entry");
        works(&session, "in the parent")?;
    }
    session.close()
}

#[cfg(unix)]
fn fork(subject: &Subject) -> Outcome {
    use std::time::Instant;

    let session = subject.open()?;
    session.set(b"key", b"value", NEVER)?;
    let (table, instance) = (*session.table(), session.instance());
    let [prepare, parent, child] =
        [table.fork_prepare, table.fork_parent, table.fork_child].map(|hook| hook.expect("FORK is declared"));
    // SAFETY: the instance is open; between the hooks the process forks, as the contract says.
    let pid = unsafe {
        prepare(instance);
        libc::fork()
    };
    if pid == 0 {
        // SAFETY: this is the child, whose only thread this is. It must not return into the caller.
        unsafe {
            child(instance);
            let kept = !subject.declares(crate::abi::capability::INLINE)
                || matches!(session.get(b"key"), Ok(Some(_)));
            let good = kept && works(&session, "in the child").is_ok();
            libc::_exit(if good { 0 } else { 1 });
        }
    }
    // SAFETY: this is the parent.
    unsafe { parent(instance) };
    ensure!(pid > 0, "fork failed: {}", std::io::Error::last_os_error());
    let end = Instant::now() + subject.patience;
    let mut status = 0;
    // SAFETY: the child is ours, and the status is valid for writing.
    while unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > end {
            // SAFETY: the child is ours and has not been waited for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, &mut status, 0);
            }
            return Err("the child hung after the fork".into());
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    ensure!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "the store does not work in the child: status {status:#x}"
    );
    session.host.advance(SECOND);
    ensure!(session.get(b"key")?.is_some(), "the parent lost an entry by the fork");
    works(&session, "in the parent")?;
    session.close()
}

#[cfg(not(unix))]
fn fork(_: &Subject) -> Outcome {
    Ok(())
}
