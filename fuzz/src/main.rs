//! All fuzz targets in one program, so that everything is built and linked once.
//!
//! `cargo xtask fuzz` builds and runs it. The environment says what it is to do, because the command
//! line is libFuzzer's:
//!
//! | variable | what it does |
//! |---|---|
//! | `RETAINIT_FUZZ_LIST` | prints the targets' names and ends |
//! | `RETAINIT_FUZZ_TARGET` | the target that gets the inputs |
//! | `RETAINIT_FUZZ_SEEDS` | a directory that the target's seeds are written to before it starts |

#![no_main]

mod targets;

use std::cell::RefCell;
use std::env::{var, var_os};
use std::panic::{catch_unwind, set_hook, take_hook, PanicHookInfo};
use std::path::Path;
use std::process::abort;
use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_target, Corpus};
use targets::{Target, TARGETS};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

thread_local! {
    /// What another crate's panic said, until somebody has caught it.
    static FOREIGN: RefCell<Option<String>> = const { RefCell::new(None) };
}

fuzz_target!(init: start(), |data: &[u8]| -> Corpus {
    let chosen = CHOSEN.get().expect("chosen at the start");
    match catch_unwind(|| (chosen.run)(data)) {
        Ok(Some(())) => Corpus::Keep,
        // Too short to say what is to be tried: nothing to learn from.
        Ok(None) => Corpus::Reject,
        Err(_) => {
            eprintln!("nobody caught this: {}", FOREIGN.take().unwrap_or_default());
            abort();
        }
    }
});

/// A panic in our own code is a finding, whoever catches it. One in a crate that ours is known to guard
/// against is a finding only where nobody does.
fn panic_hook(shown: impl Fn(&PanicHookInfo<'_>)) -> impl Fn(&PanicHookInfo<'_>) {
    move |panic| {
        let foreign = |file: &str| file.contains("/registry/src/") || file.starts_with("/rustc/");
        if panic.location().is_some_and(|location| foreign(location.file())) {
            FOREIGN.set(Some(panic.to_string()));
            return;
        }
        shown(panic);
        abort();
    }
}

fn start() {
    if var_os("RETAINIT_FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.longest));
        std::process::exit(0);
    }
    let name = var("RETAINIT_FUZZ_TARGET").expect("`RETAINIT_FUZZ_TARGET` names a target");
    let target = TARGETS.iter().find(|target| target.name == name).expect("a known target");
    CHOSEN.get_or_init(|| target);
    // What is there is libFuzzer's, which ends the process at any panic; below it is the standard one.
    drop(take_hook());
    set_hook(Box::new(panic_hook(take_hook())));
    if let Some(folder) = var_os("RETAINIT_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("seed-{number:03}")), seed)
                .expect("a folder for seeds");
        }
    }
}
