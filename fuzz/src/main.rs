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

use std::env::{var, var_os};
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_target, Corpus};
use targets::{Target, TARGETS};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: start(), |data: &[u8]| -> Corpus {
    match (CHOSEN.get().expect("chosen at the start").run)(data) {
        Some(()) => Corpus::Keep,
        // Too short to say what is to be tried: nothing to learn from.
        None => Corpus::Reject,
    }
});

fn start() {
    if var_os("RETAINIT_FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.longest));
        std::process::exit(0);
    }
    let name = var("RETAINIT_FUZZ_TARGET").expect("`RETAINIT_FUZZ_TARGET` names a target");
    let target = TARGETS.iter().find(|target| target.name == name).expect("a known target");
    CHOSEN.get_or_init(|| target);
    if let Some(folder) = var_os("RETAINIT_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("seed-{number:03}")), seed)
                .expect("a folder for seeds");
        }
    }
}
