//! A plugin written in C, through its door: the same suite, and the other kinds call by call.

mod support;

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{Call, NEVER};
use retainit_plugin_api::abi::codec::{form, CompressorTable, Data, SerializerTable};
use retainit_plugin_api::abi::host::HostRef;
use retainit_plugin_api::abi::root::{CRoot, C_DOOR};
use retainit_plugin_api::abi::sink::SinkTable;
use retainit_plugin_api::abi::value::{Slice, Value};
use retainit_plugin_api::abi::{kind, status, Prelude};
use retainit_plugin_api::conformance::Suite;
use retainit_plugin_api::sdk;
use support::Host;

/// The root of the plugin, which stays loaded.
fn root() -> &'static CRoot {
    static ROOT: OnceLock<usize> = OnceLock::new();
    let root = *ROOT.get_or_init(|| {
        let library = Box::leak(Box::new(
            // SAFETY: the library was just compiled and has no constructors.
            unsafe { libloading::Library::new(compile()) }.expect("the plugin loads"),
        ));
        // SAFETY: this is the type of the C door.
        let door = unsafe { library.get::<unsafe extern "C" fn() -> *const CRoot>(C_DOOR) }
            .expect("the door is there");
        // SAFETY: the door takes nothing.
        unsafe { door() as usize }
    });
    // SAFETY: the plugin's root is static.
    unsafe { &*(root as *const CRoot) }
}

fn compile() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "{}retainit_dummy_c{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    let output = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args([
            "-std=c11",
            "-O1",
            "-fPIC",
            "-shared",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-pthread",
            "-I",
        ])
        .arg(here.join("include"))
        .arg("-o")
        .arg(&library)
        .arg(here.join("../tests/fixtures/dummy-c/dummy.c"))
        .output()
        .expect("a C compiler can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// The table of the component of a kind.
fn table<T: Copy>(wanted: u32) -> T {
    let root = root();
    assert_eq!(root.prelude, Prelude::of::<CRoot>(0));
    // SAFETY: the root says how many components there are.
    let components = unsafe { std::slice::from_raw_parts(root.components, root.component_count) };
    let component =
        components.iter().find(|component| component.kind == wanted).expect("all kinds are there");
    // SAFETY: a table begins with its prelude, which says that it is whole.
    unsafe {
        assert_eq!((*component.table).struct_size as usize, size_of::<T>());
        *component.table.cast::<T>()
    }
}

#[test]
fn the_backend_conforms() {
    let report = Suite::new(table::<BackendTable>(kind::BACKEND), |_| "{}".to_owned())
        .bounded(|_| r#"{"max_bytes": 65536}"#.to_owned())
        .run();
    println!("{report}");
    report.assert();
    assert!(report.results.len() > 80, "only {} checks were run", report.results.len());
}

/// Opens with an empty object of options.
fn open(
    open: Option<unsafe extern "C" fn(HostRef, *const Call, Slice, *mut *mut c_void) -> i32>,
    host: &'static Host,
) -> *mut c_void {
    let mut instance = std::ptr::null_mut();
    // SAFETY: all arguments are valid for the call, and the host for ever.
    let answer = unsafe { open.unwrap()(host.reference(), &call(), Slice::new(b"{}"), &mut instance) };
    assert_eq!(answer, status::OK);
    instance
}

fn call() -> Call {
    Call { op: 0, now: 1, deadline: NEVER, error: std::ptr::null_mut() }
}

#[test]
fn the_compressor_compresses() {
    let table: CompressorTable = table(kind::COMPRESSOR);
    let host = Host::new();
    let instance = open(table.open, host);
    let input = [[7_u8; 300].as_slice(), b"abc", &[0; 5]].concat();
    let (mut small, mut large) = (Value::NONE, Value::NONE);
    // SAFETY: the instance is open, and what it gives is ours.
    unsafe {
        assert_eq!(table.compress.unwrap()(instance, &call(), Slice::new(&input), &mut small), status::OK);
        let small = sdk::Value::from_raw(small);
        let small = Slice::new(small.as_bytes().unwrap());
        assert!(small.len < 20);
        let decompress = table.decompress.unwrap();
        assert_eq!(decompress(instance, &call(), small, input.len() as u64 - 1, &mut large), status::CORRUPT);
        assert_eq!(decompress(instance, &call(), small, input.len() as u64, &mut large), status::OK);
        assert_eq!(sdk::Value::from_raw(large).as_bytes(), Some(input.as_slice()));
        assert!(table.train.is_none());
        assert_eq!(table.close.unwrap()(instance, &call()), status::OK);
    }
}

#[test]
fn the_serializer_passes_bytes_without_a_copy() {
    let table: SerializerTable = table(kind::SERIALIZER);
    let host = Host::new();
    let instance = open(table.open, host);
    let bytes = sdk::Value::from_vec(b"some bytes".to_vec()).into_raw();
    let data = |form| Data {
        form,
        reserved: 0,
        value: bytes,
        tensor: std::ptr::null(),
        stream: std::ptr::null_mut(),
    };
    let (mut stored, mut back) = (Value::NONE, Data { value: Value::NONE, ..data(0) });
    // SAFETY: the instance is open, and the one reference is passed from call to call.
    unsafe {
        assert_eq!(table.serialize.unwrap()(instance, &call(), &data(form::BYTES), &mut stored), status::OK);
        assert_eq!(table.deserialize.unwrap()(instance, &call(), &stored, &mut back), status::OK);
        assert_eq!((back.form, back.value.ptr), (form::BYTES, bytes.ptr));
        // A form that it does not take is refused, and the reference dropped with it.
        assert_eq!(
            table.serialize.unwrap()(instance, &call(), &data(form::TREE), &mut stored),
            status::UNSUPPORTED
        );
        assert_eq!(table.close.unwrap()(instance, &call()), status::OK);
    }
}

#[test]
fn the_sink_counts_and_logs() {
    let table: SinkTable = table(kind::SINK);
    let host = Host::new();
    let instance = open(table.open, host);
    // SAFETY: the instance is open; the events are all zero, which stands for empty texts.
    unsafe {
        let events: [retainit_plugin_api::abi::sink::Event; 3] = std::mem::zeroed();
        assert_eq!(table.emit.unwrap()(instance, &call(), events.as_ptr(), events.len()), status::OK);
        assert_eq!(table.flush.unwrap()(instance, &call()), status::OK);
        assert_eq!(table.close.unwrap()(instance, &call()), status::OK);
    }
    assert_eq!(*host.lines.lock().unwrap(), ["3 events"]);
}
