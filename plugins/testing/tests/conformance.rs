//! The behaviour every backend must show, through the plugin's own tables, with no fault scripted.

use retainit_plugin_api::conformance::Suite;
use retainit_plugin_api::sdk::export::BackendExport;
use retainit_testing::{Blocking, Inline, Later, Manner, Scripted};

fn conforms<M: Manner>() {
    let options = |check: &str| format!(r#"{{"channel": "{check}"}}"#);
    Suite::new(BackendExport::<Scripted<M>>::TABLE, options).run().assert();
}

#[test]
fn the_one_that_blocks() {
    conforms::<Blocking>();
}

#[test]
fn the_one_that_answers_later() {
    conforms::<Later>();
}

#[test]
fn the_one_that_answers_at_once() {
    conforms::<Inline>();
}
