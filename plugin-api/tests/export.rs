//! Tables made from traits, called raw: what is written, who owns what, what is refused.

mod support;

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{Entry as RawEntry, Item as RawItem, Token as RawToken, NEVER};
use retainit_plugin_api::abi::codec::{form, Data as RawData, Tensor};
use retainit_plugin_api::abi::manifest::{Manifest, MAGIC};
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::abi::{kind, sink, status};
use retainit_plugin_api::sdk::export::{
    manifest_bytes, manifest_len, BackendExport, Component, CompressorExport, SerializerExport, SinkExport,
};
use retainit_plugin_api::sdk::*;
use support::{Calling, Host as TestHost};

const SCHEMA: &str = r#"{"type": "object", "properties": {"size": {"type": "integer"}}}"#;

#[derive(serde::Deserialize)]
struct Options {
    #[serde(default)]
    size: u64,
}

/// A backend of few capabilities. Keys are orders.
struct Plain {
    size: u64,
}

impl Backend for Plain {
    const NAME: &'static str = "plain";
    const CAPABILITIES: u64 = capability::BLOCKING | capability::TTL | capability::CLAIM;
    const SCHEMA: &'static str = SCHEMA;
    type Options = Options;

    fn open(options: Options, _: Host) -> Result<Self> {
        Ok(Plain { size: options.size })
    }
    fn get(&self, _: &Call<'_>, key: &[u8]) -> Result<Option<Item>> {
        match key {
            b"found" => Ok(Some(Item {
                value: Value::from_vec(b"value".to_vec()),
                expires: 77,
                token: Token { bytes: [5; 16] },
            })),
            b"busy" => Err(Error::new(ErrorKind::Busy, "too much at once")),
            b"panic-with-a-panicking-payload" => std::panic::panic_any(Bomb),
            _ => Ok(None),
        }
    }
    fn set(&self, _: &Call<'_>, entry: Entry<'_>) -> Result<()> {
        match entry.key {
            b"refused" => Err(Error::new(ErrorKind::Invalid, "refused")),
            _ => Ok(()),
        }
    }
    fn delete(&self, _: &Call<'_>, key: &[u8]) -> Result<bool> {
        Ok(key == b"found")
    }
    fn clear(&self, _: &Call<'_>, _: &[u8]) -> Result<u64> {
        Ok(self.size)
    }
    fn quiesce(&self, _: &Call<'_>) -> Result<()> {
        Ok(())
    }
    fn get_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<Option<Item>>> {
        // Two keys are answered with one item.
        keys.iter()
            .take(if keys.len() == 2 { 1 } else { usize::MAX })
            .map(|key| self.get(call, key))
            .collect()
    }
    fn claim(value: &Value) -> Result<()> {
        match value.as_bytes() {
            Some(b"value") => Ok(()),
            Some(b"bomb") => std::panic::panic_any(Bomb),
            _ => Err(Error::new(ErrorKind::Retryable, "no room")),
        }
    }
}

/// A panic's payload whose drop panics too.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Bomb);
    }
}

const TABLE: BackendTable = BackendExport::<Plain>::TABLE;

type Open = Option<
    unsafe extern "C" fn(
        retainit_plugin_api::abi::host::HostRef,
        *const retainit_plugin_api::abi::call::Call,
        Slice,
        *mut *mut c_void,
    ) -> i32,
>;

fn open(open: Open, options: &str) -> Result<*mut c_void, (i32, String)> {
    let (mut instance, calling) = (std::ptr::null_mut(), Calling::new(0));
    // SAFETY: all arguments are valid for the call, and the host for ever.
    let answer = unsafe {
        open.unwrap()(
            TestHost::new().reference(),
            &calling.call,
            Slice::new(options.as_bytes()),
            &mut instance,
        )
    };
    match answer {
        status::OK => Ok(instance),
        other => Err((other, calling.message())),
    }
}

fn get(instance: *mut c_void, key: &[u8], item: &mut RawItem) -> (i32, Calling) {
    let calling = Calling::new(0);
    // SAFETY: the instance is open and the arguments are valid for the call.
    (unsafe { TABLE.get.unwrap()(instance, &calling.call, Slice::new(key), item) }, calling)
}

/// Bytes whose references are counted, and the counter.
fn counted() -> (Arc<Vec<u8>>, value::Value) {
    let owner = Arc::new(b"value".to_vec());
    (owner.clone(), Value::from_owner(owner).into_raw())
}

#[test]
fn functions_follow_capabilities() {
    assert!(TABLE.touch.is_some() && TABLE.ttl.is_some());
    assert!(TABLE.add.is_none() && TABLE.compare_and_set.is_none() && TABLE.increment.is_none());
    assert!(TABLE.scan.is_none() && TABLE.count.is_none() && TABLE.subscribe.is_none());
    assert!(TABLE.lease_acquire.is_none() && TABLE.lease_renew.is_none() && TABLE.lease_release.is_none());
    assert!(TABLE.cancel.is_none() && TABLE.fork_prepare.is_none() && TABLE.fork_child.is_none());
    assert!(TABLE.claim.is_some());
    assert_eq!(TABLE.prelude.capabilities, Plain::CAPABILITIES);
}

#[test]
fn get_writes_what_means_something() {
    let instance = open(TABLE.open, "{}").unwrap();
    let mut item = RawItem { status: 99, token: RawToken { bytes: [1; 16] }, ..RawItem::EMPTY };
    assert_eq!(get(instance, b"found", &mut item).0, status::OK);
    // SAFETY: the plugin's reference is ours.
    assert_eq!(unsafe { Value::from_raw(item.value) }.as_bytes(), Some(b"value".as_slice()));
    assert_eq!(item.expires, 77);
    // Without CAS a token means nothing; the status is for batches.
    assert_eq!((item.token.bytes, item.status), ([1; 16], 99));
    let mut item = RawItem::EMPTY;
    assert_eq!(get(instance, b"absent", &mut item).0, status::NOT_FOUND);
    let (answer, calling) = get(instance, b"busy", &mut item);
    assert_eq!((answer, calling.message().as_str()), (status::BUSY, "too much at once"));
}

#[test]
fn a_claim_borrows_its_value_and_answers_with_a_status() {
    for (bytes, expected) in [
        ("value", status::OK),
        ("bomb", status::PANIC),
        ("other", status::RETRYABLE),
        ("", status::RETRYABLE),
    ] {
        let owner = Arc::new(bytes.as_bytes().to_vec());
        let value = Value::from_owner(Arc::clone(&owner));
        // SAFETY: the value is held.
        assert_eq!(unsafe { TABLE.claim.unwrap()(value.as_raw()) }, expected, "{bytes}");
        assert_eq!(Arc::strong_count(&owner), 2);
    }
}

#[test]
fn a_payload_that_panics_when_dropped_is_contained() {
    let instance = open(TABLE.open, "{}").unwrap();
    let (answer, calling) = get(instance, b"panic-with-a-panicking-payload", &mut { RawItem::EMPTY });
    assert_eq!((answer, calling.message().as_str()), (status::PANIC, "the plugin panicked: no message"));
}

#[test]
fn a_refused_value_is_released() {
    let instance = open(TABLE.open, "{}").unwrap();
    for key in [b"refused".as_slice(), b"taken"] {
        let (owner, value) = counted();
        let (entry, calling) = (RawEntry { key: Slice::new(key), value, ttl: NEVER }, Calling::new(0));
        // SAFETY: the instance is open and the arguments are valid for the call.
        unsafe { TABLE.set.unwrap()(instance, &calling.call, &entry) };
        assert_eq!(Arc::strong_count(&owner), 1);
    }
    let (owner, value) = counted();
    let entries = [b"taken".as_slice(), b"refused"].map(|key| {
        // SAFETY: the value is held; each entry gets a reference of its own.
        unsafe { value.retain() };
        RawEntry { key: Slice::new(key), value, ttl: NEVER }
    });
    let (mut statuses, calling) = ([7; 2], Calling::new(0));
    // SAFETY: as above.
    let answer = unsafe {
        TABLE.set_many.unwrap()(instance, &calling.call, entries.as_ptr(), 2, statuses.as_mut_ptr())
    };
    assert_eq!((answer, statuses), (status::OK, [status::OK, status::INVALID]));
    assert_eq!(Arc::strong_count(&owner), 2);
}

#[test]
fn a_batch_with_too_few_answers_is_an_error() {
    let instance = open(TABLE.open, "{}").unwrap();
    let keys = [Slice::new(b"found"), Slice::new(b"found")];
    let (mut items, calling) = ([RawItem::EMPTY; 2], Calling::new(0));
    // SAFETY: the instance is open and both arrays have two elements.
    let answer =
        unsafe { TABLE.get_many.unwrap()(instance, &calling.call, keys.as_ptr(), 2, items.as_mut_ptr()) };
    assert_eq!(answer, status::FATAL);
    assert_eq!(calling.message(), "the plugin gave 1 answers to a batch of 2");
    assert!(items.iter().all(|item| item.value.kind == value::NONE), "an item was written with the error");
}

#[test]
fn options_are_checked_against_the_schema() {
    assert!(open(TABLE.open, r#"{"size": 3}"#).is_ok());
    assert!(open(TABLE.open, "").is_ok());
    let refused = open(TABLE.open, r#"{"sise": 3}"#).unwrap_err();
    let message =
        "unknown option `sise` for backend `plain`: expected one of `size`; hint: did you mean `size`?";
    assert_eq!(refused, (status::CONFIGURATION, message.to_owned()));
}

/// A serializer of tensors and streams that keeps what it gets.
struct Keeper;

impl Serializer for Keeper {
    const NAME: &'static str = "keeper";
    const CAPABILITIES: u64 = capability::FORM_TENSOR | capability::FORM_ARROW;
    const SCHEMA: &'static str = SCHEMA;
    type Options = Options;

    fn open(_: Options, _: Host) -> Result<Self> {
        Ok(Keeper)
    }
    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        match data {
            Data::Tensor(value, info) => {
                assert_eq!((info.dtype.as_str(), info.shape, info.strides), ("<f8", vec![2, 3], vec![24, 8]));
                Ok(value)
            }
            Data::Arrow(stream) => {
                drop(stream);
                Ok(Value::from_vec(b"stream".to_vec()))
            }
            other => panic!("{other:?}"),
        }
    }
    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        let info = TensorInfo { dtype: "<i4".to_owned(), shape: vec![5], strides: vec![1] };
        Ok(Data::Tensor(bytes, info))
    }
}

#[test]
fn tensors_and_streams_change_hands() {
    let table = SerializerExport::<Keeper>::TABLE;
    let instance = open(table.open, "{}").unwrap();
    let serialize = |data: &RawData, out: &mut value::Value| {
        let calling = Calling::new(0);
        // SAFETY: the instance is open and the arguments are valid for the call.
        (unsafe { table.serialize.unwrap()(instance, &calling.call, data, out) }, calling)
    };
    let (owner, value) = counted();
    let (shape, strides) = ([2, 3], [24, 8]);
    let tensor = Tensor {
        dtype: Slice::new(b"<f8"),
        shape: shape.as_ptr(),
        strides: strides.as_ptr(),
        ndim: 2,
        reserved: 0,
    };
    let data =
        RawData { form: form::TENSOR, reserved: 0, value, tensor: &tensor, stream: std::ptr::null_mut() };
    let mut stored = value::Value::NONE;
    assert_eq!(serialize(&data, &mut stored).0, status::OK);
    assert_eq!(stored.ptr, owner.as_ptr(), "the elements were copied");

    let (mut back, calling) = (RawData { form: 0, ..data }, Calling::new(0));
    // SAFETY: as above; the reference passes to the plugin.
    let answer = unsafe { table.deserialize.unwrap()(instance, &calling.call, &stored, &mut back) };
    assert_eq!(answer, status::OK);
    assert_eq!((back.form, back.value.ptr), (form::TENSOR, owner.as_ptr()));
    // SAFETY: the description is valid for as long as the value is held.
    let back_tensor = unsafe { &*back.tensor };
    // SAFETY: as above.
    assert_eq!(unsafe { (back_tensor.dtype.as_bytes(), *back_tensor.shape) }, (b"<i4".as_slice(), 5));
    assert_eq!(Arc::strong_count(&owner), 2);
    // SAFETY: the reference is ours.
    unsafe { back.value.release() };
    assert_eq!(Arc::strong_count(&owner), 1, "the value does not own what it shows");

    // A tensor without a description, a form that nobody knows: refused, and released.
    for wrong in [RawData { tensor: std::ptr::null(), ..data }, RawData { form: 9, ..data }] {
        let (owner, value) = counted();
        assert_eq!(serialize(&RawData { value, ..wrong }, &mut stored).0, status::INVALID);
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}

/// The layout of the Arrow C stream interface.
#[repr(C)]
struct Stream {
    get_schema: usize,
    get_next: usize,
    get_last_error: usize,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *const AtomicUsize,
}

unsafe extern "C" fn release(stream: *mut Stream) {
    // SAFETY: the test's streams point to a counter that outlives them.
    unsafe {
        (*(*stream).private_data).fetch_add(1, Ordering::SeqCst);
        (*stream).release = None;
    }
}

#[test]
fn a_stream_is_moved_out_and_released_once() {
    let table = SerializerExport::<Keeper>::TABLE;
    let instance = open(table.open, "{}").unwrap();
    let released = AtomicUsize::new(0);
    let mut stream = Stream {
        get_schema: 0,
        get_next: 0,
        get_last_error: 0,
        release: Some(release),
        private_data: &released,
    };
    let data = RawData {
        form: form::ARROW,
        reserved: 0,
        value: value::Value::NONE,
        tensor: std::ptr::null(),
        stream: (&raw mut stream).cast(),
    };
    let (mut stored, calling) = (value::Value::NONE, Calling::new(0));
    // SAFETY: the instance is open and the arguments are valid for the call.
    assert_eq!(unsafe { table.serialize.unwrap()(instance, &calling.call, &data, &mut stored) }, status::OK);
    assert_eq!(released.load(Ordering::SeqCst), 1);
    assert!(stream.release.is_none(), "the host's stream was not marked as moved");
    // SAFETY: the reference is ours.
    unsafe { stored.release() };
}

/// A compressor that gives more than it may.
struct Flood;

impl Compressor for Flood {
    const NAME: &'static str = "flood";
    const CAPABILITIES: u64 = 0;
    const SCHEMA: &'static str = SCHEMA;
    type Options = Options;

    fn open(_: Options, _: Host) -> Result<Self> {
        Ok(Flood)
    }
    fn compress(&self, _: &Call<'_>, input: &[u8]) -> Result<Value> {
        Ok(Value::from_vec(input.to_vec()))
    }
    fn decompress(&self, _: &Call<'_>, _: &[u8], _: u64) -> Result<Value> {
        Ok(Value::from_vec(vec![0; 100]))
    }
}

#[test]
fn more_than_the_limit_is_corrupt() {
    let table = CompressorExport::<Flood>::TABLE;
    assert!(table.train.is_none());
    let instance = open(table.open, "{}").unwrap();
    let (mut out, calling) = (value::Value::NONE, Calling::new(0));
    // SAFETY: the instance is open and the arguments are valid for the call.
    let answer =
        unsafe { table.decompress.unwrap()(instance, &calling.call, Slice::new(b"x"), 99, &mut out) };
    assert_eq!((answer, out.kind), (status::CORRUPT, value::NONE));
    assert_eq!(calling.message(), "decompressed to 100 bytes: expected at most 99");
}

/// A sink that tells what it heard in its error.
struct Echo;

impl Sink for Echo {
    const NAME: &'static str = "echo";
    const SCHEMA: &'static str = SCHEMA;
    type Options = Options;

    fn open(_: Options, _: Host) -> Result<Self> {
        Ok(Echo)
    }
    fn emit(&self, _: &Call<'_>, events: &[Event<'_>]) -> Result<()> {
        let event = &events[0];
        let tags: Vec<String> = event.tags().collect();
        Err(Error::new(
            ErrorKind::Busy,
            format!(
                "{} {:?} {} {:?} {:?} {:?} {:?} {tags:?}",
                events.len(),
                event.kind(),
                event.function(),
                event.tier(),
                event.size(),
                event.duration(),
                events[1].kind()
            ),
        ))
    }
    fn flush(&self, _: &Call<'_>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn events_are_read_without_a_copy() {
    let table = SinkExport::<Echo>::TABLE;
    let instance = open(table.open, "{}").unwrap();
    let event = sink::Event {
        kind: sink::event::STALE,
        tier: 1,
        time: 0,
        duration: -1,
        size: 12,
        count: -1,
        call_id: 0,
        function: Slice::new(b"module.function"),
        key: Slice::EMPTY,
        backend: Slice::EMPTY,
        tags: Slice::new("one\u{1f}two".as_bytes()),
        error: Slice::EMPTY,
    };
    let (events, calling) = ([event, sink::Event { kind: 999, ..event }], Calling::new(0));
    // SAFETY: the instance is open and the arguments are valid for the call.
    let answer = unsafe { table.emit.unwrap()(instance, &calling.call, events.as_ptr(), 2) };
    assert_eq!(answer, status::BUSY);
    let heard = r#"2 Stale module.function Some(1) Some(12) None Other(999) ["one", "two"]"#;
    assert_eq!(calling.message(), heard);
}

#[test]
fn the_manifest_is_built_in_a_constant() {
    const COMPONENTS: &[Component] = &[
        Component::backend::<Plain>(),
        Component::serializer::<Keeper>(),
        Component::compressor::<Flood>(),
        Component::sink::<Echo>(),
    ];
    static BYTES: [u8; manifest_len("test", "1.2.3-rc.1", COMPONENTS)] =
        manifest_bytes("test", "1.2.3-rc.1", COMPONENTS);
    let text = std::str::from_utf8(&BYTES).unwrap();
    let json = text.strip_prefix(MAGIC).unwrap().strip_suffix('\0').unwrap();
    let manifest: Manifest = serde_json::from_str(json).unwrap();
    assert_eq!(
        (manifest.abi, manifest.name.as_str(), manifest.version.as_str()),
        ((1, 1), "test", "1.2.3-rc.1")
    );
    let kinds: Vec<&str> = manifest.components.iter().map(|component| component.kind.as_str()).collect();
    assert_eq!(kinds, [kind::BACKEND, kind::SERIALIZER, kind::COMPRESSOR, kind::SINK].map(kind::name));
    assert_eq!(manifest.components[0].capabilities, Plain::CAPABILITIES);
    assert_eq!(manifest.components[1].name, "keeper");
    assert_eq!(manifest.components[3].schema["properties"]["size"]["type"], "integer");
}
