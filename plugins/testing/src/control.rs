//! The C functions that a test reaches a script through, while the backends run.
//!
//! A command is a JSON object whose `do` says what to do with a channel, which is made if there is none:
//!
//! | `do` | and | answer |
//! |---|---|---|
//! | `rule` | what [`Rule`] has | `{}` |
//! | `release` | | `{}`: every call that waits goes on |
//! | `restore` | | `{}`: likewise, and all rules are forgotten |
//! | `recorded` | | `{"calls": [...], "waiting": 0}` |
//! | `forget` | | `{}`: no calls are on record |
//! | `until` | `operation`, `calls`, `waiting`, `seconds` of real time | `{"met": true}` |
//! | `close` | | `{}`: the name is free; instances keep what they share |

use std::ffi::{c_char, CStr, CString};
use std::panic::catch_unwind;
use std::time::Duration;

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{json, Value};

use super::channel;
use super::rule::Rule;
use super::store::{Blocking, Inline, Later, Manner};

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Rule(Rule),
    Release,
    Restore,
    Recorded,
    Forget,
    Until { operation: String, calls: usize, waiting: usize, seconds: f64 },
    Close,
}

/// Does what `command` says with the channel `name` of `component`.
///
/// # Errors
/// `Configuration`: no such component, or a command that cannot be followed.
pub fn control(component: &str, name: &str, command: &str) -> Result<Value> {
    let wrong = |message: String| Error::new(ErrorKind::Configuration, message);
    let known = [Blocking::NAME, Later::NAME, Inline::NAME];
    if !known.contains(&component) {
        let known = known.map(|each| format!("`{each}`")).join(", ");
        return Err(wrong(format!("unknown backend `{component}`: expected one of {known}")));
    }
    let command: Command =
        serde_json::from_str(command).map_err(|error| wrong(format!("invalid command: {error}")))?;
    if matches!(command, Command::Close) {
        channel::close(component, name);
        return Ok(json!({}));
    }
    let channel = channel::find(component, name);
    match command {
        Command::Rule(rule) => {
            let (is_later, is_inline) = (component == Later::NAME, component == Inline::NAME);
            rule.check(is_later, is_inline)?;
            channel.add(rule);
        }
        Command::Release => channel.release(),
        Command::Restore => channel.restore(),
        Command::Recorded => return Ok(channel.recorded()),
        Command::Forget => channel.forget(),
        Command::Until { operation, calls, waiting, seconds } => {
            let patience = Duration::try_from_secs_f64(seconds)
                .map_err(|error| wrong(format!("invalid `seconds`: {error}, found `{seconds}`")))?;
            return Ok(json!({"met": channel.until(&operation, calls, waiting, patience)}));
        }
        Command::Close => {}
    }
    Ok(json!({}))
}

/// [`control`] for other languages: three texts that end with a zero, and the answer as another, to be given
/// back to [`retainit_testing_free`]. What goes wrong is `{"error": "..."}`.
///
/// # Safety
/// The three must point to texts that end with a zero and do not change meanwhile.
#[cfg_attr(feature = "export", no_mangle)]
pub unsafe extern "C" fn retainit_testing_control(
    component: *const c_char,
    name: *const c_char,
    command: *const c_char,
) -> *mut c_char {
    let answer = catch_unwind(|| {
        // SAFETY: promised by the caller.
        let texts = unsafe { [component, name, command].map(|text| CStr::from_ptr(text).to_string_lossy()) };
        control(&texts[0], &texts[1], &texts[2])
    });
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => json!({"error": error.message()}),
        Err(_) => json!({"error": "the plugin panicked while it followed a command"}),
    };
    // JSON has no zeros in it.
    CString::new(answer.to_string()).unwrap_or_default().into_raw()
}

/// Takes an answer back.
///
/// # Safety
/// `answer` must come from [`retainit_testing_control`], and is not used afterwards.
#[cfg_attr(feature = "export", no_mangle)]
pub unsafe extern "C" fn retainit_testing_free(answer: *mut c_char) {
    if !answer.is_null() {
        // SAFETY: promised by the caller.
        drop(unsafe { CString::from_raw(answer) });
    }
}
