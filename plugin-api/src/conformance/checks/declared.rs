//! What a table says about itself, and the options it refuses.

use super::{Check, Subject, SECOND};
use crate::abi::backend::BackendTable;
use crate::abi::call::{Call, Entry, Lease, Page, Token, NEVER};
use crate::abi::value::{Slice, Value};
use crate::abi::{capability, status, ABI_MAJOR};
use crate::conformance::{ensure, Mode, Outcome};

pub(super) const CHECKS: [Check; 5] = [
    Check::new("prelude", 0, prelude).only(Mode::Ready),
    Check::new("required-operations", 0, required_operations).only(Mode::Ready),
    Check::new("undeclared-operations", 0, undeclared_operations).only(Mode::Ready),
    Check::new("unknown-option", 0, unknown_option).only(Mode::Ready),
    Check::new("malformed-options", 0, malformed_options).only(Mode::Ready),
];

fn prelude(subject: &Subject) -> Outcome {
    let prelude = subject.table.prelude;
    ensure!(prelude.abi_major == ABI_MAJOR, "abi major is {}: expected {ABI_MAJOR}", prelude.abi_major);
    let core = std::mem::offset_of!(BackendTable, get_many) as u32;
    ensure!(prelude.struct_size >= core, "struct size is {}: expected at least {core}", prelude.struct_size);
    let way = capability::INLINE | capability::BLOCKING | capability::ASYNC;
    ensure!(prelude.capabilities & way != 0, "none of INLINE, BLOCKING and ASYNC is declared");
    ensure!(
        prelude.capabilities & (capability::INLINE | capability::BLOCKING)
            != capability::INLINE | capability::BLOCKING,
        "both INLINE and BLOCKING are declared"
    );
    let known = capability::NAMES.iter().fold(0, |known, (bit, _)| known | bit);
    let unknown = prelude.capabilities & capability::REQUIRED_MASK & !known;
    ensure!(unknown == 0, "required capability bits {unknown:#x} are unknown");
    Ok(())
}

fn required_operations(subject: &Subject) -> Outcome {
    let table = &subject.table;
    let required = [
        ("open", table.open.is_some(), 0),
        ("get", table.get.is_some(), 0),
        ("set", table.set.is_some(), 0),
        ("delete", table.delete.is_some(), 0),
        ("clear", table.clear.is_some(), 0),
        ("quiesce", table.quiesce.is_some(), 0),
        ("close", table.close.is_some(), 0),
        ("cancel", table.cancel.is_some(), capability::ASYNC),
        ("add", table.add.is_some(), capability::CAS),
        ("compare_and_set", table.compare_and_set.is_some(), capability::CAS),
        ("increment", table.increment.is_some(), capability::COUNTER),
        ("touch", table.touch.is_some(), capability::TTL),
        ("ttl", table.ttl.is_some(), capability::TTL),
        ("scan", table.scan.is_some(), capability::SCAN),
        ("count", table.count.is_some(), capability::SCAN),
        ("lease_acquire", table.lease_acquire.is_some(), capability::LEASE),
        ("lease_renew", table.lease_renew.is_some(), capability::LEASE),
        ("lease_release", table.lease_release.is_some(), capability::LEASE),
        ("subscribe", table.subscribe.is_some(), capability::SUBSCRIBE),
        ("fork_prepare", table.fork_prepare.is_some(), capability::FORK),
        ("fork_parent", table.fork_parent.is_some(), capability::FORK),
        ("fork_child", table.fork_child.is_some(), capability::FORK),
        ("claim", table.claim.is_some(), capability::CLAIM),
    ];
    for (name, there, needs) in required {
        ensure!(there || !subject.declares(needs), "`{name}` is missing, although what needs it is declared");
    }
    Ok(())
}

/// What is not declared is either not there or says so.
fn undeclared_operations(subject: &Subject) -> Outcome {
    let session = subject.open()?;
    let (table, instance) = (*session.table(), session.instance());
    let key = Slice::new(b"key");
    let lease = Lease { holder: Token { bytes: [7; 16] }, fence: 1 };
    let entry = || Entry { key, value: session.host.bytes(b"value"), ttl: NEVER };
    let refused = |name: &str, bit: u64, body: Option<&dyn Fn(*const Call) -> i32>| -> Outcome {
        let Some(body) = body.filter(|_| !subject.declares(bit)) else {
            return Ok(());
        };
        let (answer, _message) = session.raw(0, NEVER, body);
        ensure!(
            answer == status::UNSUPPORTED,
            "`{name}` is not declared and answers {}: expected no function, or `unsupported`",
            status::name(answer)
        );
        Ok(())
    };
    /// The closure that makes the call, if the function is there.
    macro_rules! try_call {
        ($field:ident, $bit:ident, |$function:ident, $call:ident| $body:expr) => {
            if let Some($function) = table.$field {
                let body = |$call: *const Call| {
                    // SAFETY: the instance is open and all arguments are valid for the call.
                    unsafe { $body }
                };
                refused(stringify!($field), capability::$bit, Some(&body))?;
            }
        };
    }
    try_call!(add, CAS, |add, call| add(instance, call, &entry(), &mut Token::default()));
    try_call!(compare_and_set, CAS, |cas, call| cas(instance, call, &entry(), &mut Token::default()));
    try_call!(increment, COUNTER, |increment, call| increment(instance, call, key, 1, NEVER, &mut 0));
    try_call!(touch, TTL, |touch, call| touch(instance, call, key, SECOND));
    try_call!(ttl, TTL, |ttl, call| ttl(instance, call, key, &mut 0));
    try_call!(scan, SCAN, |scan, call| {
        let mut page = Page { keys: Value::NONE, cursor: 0, count: 0 };
        let answer = scan(instance, call, Slice::EMPTY, Slice::EMPTY, 0, 10, &mut page);
        page.keys.release();
        answer
    });
    try_call!(count, SCAN, |count, call| count(instance, call, Slice::EMPTY, &mut 0));
    try_call!(lease_acquire, LEASE, |acquire, call| acquire(instance, call, key, SECOND, &mut lease.clone()));
    try_call!(lease_renew, LEASE, |renew, call| renew(instance, call, key, SECOND, &lease));
    try_call!(lease_release, LEASE, |release, call| release(instance, call, key, &lease));
    try_call!(subscribe, SUBSCRIBE, |subscribe, call| subscribe(instance, call, key));
    try_call!(claim, CLAIM, |claim, _call| {
        let mut value = session.host.bytes(b"value");
        let answer = claim(&value);
        value.release();
        answer
    });
    session.close()
}

fn refused_options(subject: &Subject, options: &str, about: &str) -> Outcome {
    let host = subject.host(SECOND, SECOND);
    match subject.with(options).open_with(host) {
        Ok(_) => Err(format!("{about} was accepted").into()),
        Err(fault) => {
            ensure!(
                fault.status == status::CONFIGURATION,
                "{about} failed otherwise than with CONFIGURATION: {fault}"
            );
            ensure!(!fault.message.is_empty(), "{about} was refused without a message");
            host.settle()
        }
    }
}

fn unknown_option(subject: &Subject) -> Outcome {
    let mut options: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&subject.options)?;
    options.insert("no_such_option_xyz".to_owned(), 1.into());
    let options = serde_json::Value::Object(options).to_string();
    refused_options(subject, &options, "an unknown option")?;
    let fault = subject.with(&options).open().err().ok_or("an unknown option was accepted")?;
    ensure!(
        fault.message.contains("no_such_option_xyz"),
        "the message does not name the unknown option: {fault}"
    );
    Ok(())
}

fn malformed_options(subject: &Subject) -> Outcome {
    refused_options(subject, "{", "a truncated json object")?;
    refused_options(subject, "[]", "an array in place of an object")
}
