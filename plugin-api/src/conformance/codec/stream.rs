//! Streams of the Arrow C stream interface, made and read by hand, for columns of three types.
//!
//! The structs are those of <https://arrow.apache.org/docs/format/CDataInterface.html> and
//! <https://arrow.apache.org/docs/format/CStreamInterface.html>.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void, CStr, CString};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;

use super::table::{Column, Table};
use crate::sdk::ArrowStream;

#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

/// An `ArrowArrayStream`.
#[repr(C)]
pub(super) struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut Schema) -> i32>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut Array) -> i32>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

/// How many structs of a stream are still to be released.
pub(super) type Live = Arc<AtomicI64>;

const NULLABLE: i64 = 2;

impl Stream {
    /// A place for a stream, with none in it.
    pub(super) fn empty() -> Stream {
        // SAFETY: null is a value of every field.
        unsafe { std::mem::zeroed() }
    }

    /// A stream over the table's batches; `live` counts it and all it gives.
    pub(super) fn over(table: &Table, live: &Live) -> Stream {
        live.fetch_add(1, Ordering::SeqCst);
        let source = Source {
            names: table.names.clone(),
            formats: table.batches.first().map_or(Vec::new(), |batch| batch.iter().map(format).collect()),
            batches: table.batches.clone().into(),
            live: Arc::clone(live),
        };
        Stream {
            get_schema: Some(get_schema),
            get_next: Some(get_next),
            get_last_error: Some(get_last_error),
            release: Some(release_stream),
            private_data: Box::into_raw(Box::new(source)).cast(),
        }
    }

    /// Takes what a plugin put here.
    pub(super) fn take(&mut self) -> ArrowStream {
        // SAFETY: this is a stream or the empty place, and ours alone.
        unsafe { ArrowStream::take(std::ptr::from_mut(self).cast()) }
    }

    /// Whether there is a stream here.
    pub(super) fn is_some(&self) -> bool {
        self.release.is_some()
    }
}

/// What a stream of ours goes through.
struct Source {
    names: Vec<String>,
    formats: Vec<&'static CStr>,
    batches: VecDeque<Vec<Column>>,
    live: Live,
}

fn format(column: &Column) -> &'static CStr {
    match column {
        Column::Ints(_) => c"l",
        Column::Floats(_) => c"g",
        Column::Texts(_) => c"u",
    }
}

/// What a schema of ours points to.
struct SchemaOwner {
    name: CString,
    children: Vec<*mut Schema>,
    live: Live,
}

fn schema(format: &'static CStr, name: &str, flags: i64, children: Vec<Schema>, live: &Live) -> Schema {
    live.fetch_add(1, Ordering::SeqCst);
    let mut owner = Box::new(SchemaOwner {
        name: CString::new(name).expect("names have no zeros"),
        children: children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect(),
        live: Arc::clone(live),
    });
    Schema {
        format: format.as_ptr(),
        name: owner.name.as_ptr(),
        metadata: std::ptr::null(),
        flags,
        n_children: owner.children.len() as i64,
        children: owner.children.as_mut_ptr(),
        dictionary: std::ptr::null_mut(),
        release: Some(release_schema),
        private_data: Box::into_raw(owner).cast(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: the schema is one of ours, and not yet released.
    unsafe {
        let owner = Box::from_raw((*schema).private_data.cast::<SchemaOwner>());
        for child in &owner.children {
            // A child that was moved out is marked as released.
            let mut child = Box::from_raw(*child);
            if let Some(release) = child.release {
                release(&mut *child);
            }
        }
        owner.live.fetch_sub(1, Ordering::SeqCst);
        (*schema).release = None;
    }
}

/// What an array of ours points to.
struct ArrayOwner {
    buffers: Vec<*const c_void>,
    children: Vec<*mut Array>,
    /// In words, so that numbers are aligned.
    _memory: Vec<Vec<u64>>,
    live: Live,
}

/// An array over buffers; an empty one stands for none.
fn array(length: usize, nulls: usize, buffers: Vec<Vec<u8>>, children: Vec<Array>, live: &Live) -> Array {
    live.fetch_add(1, Ordering::SeqCst);
    let words = |bytes: &Vec<u8>| {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        };
        bytes.chunks(8).map(word).collect::<Vec<u64>>()
    };
    let memory: Vec<Vec<u64>> = buffers.iter().map(words).collect();
    let pointer = |words: &Vec<u64>| if words.is_empty() { std::ptr::null() } else { words.as_ptr().cast() };
    let mut owner = Box::new(ArrayOwner {
        buffers: memory.iter().map(pointer).collect(),
        children: children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect(),
        _memory: memory,
        live: Arc::clone(live),
    });
    Array {
        length: length as i64,
        null_count: nulls as i64,
        offset: 0,
        n_buffers: owner.buffers.len() as i64,
        n_children: owner.children.len() as i64,
        buffers: owner.buffers.as_mut_ptr(),
        children: owner.children.as_mut_ptr(),
        dictionary: std::ptr::null_mut(),
        release: Some(release_array),
        private_data: Box::into_raw(owner).cast(),
    }
}

unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: the array is one of ours, and not yet released.
    unsafe {
        let owner = Box::from_raw((*array).private_data.cast::<ArrayOwner>());
        for child in &owner.children {
            let mut child = Box::from_raw(*child);
            if let Some(release) = child.release {
                release(&mut *child);
            }
        }
        owner.live.fetch_sub(1, Ordering::SeqCst);
        (*array).release = None;
    }
}

fn column(column: &Column, live: &Live) -> Array {
    fn numbers<T: Copy>(cells: &[Option<T>], bytes: impl Fn(T) -> [u8; 8]) -> (Vec<bool>, Vec<Vec<u8>>) {
        let there = cells.iter().map(Option::is_some).collect();
        (there, vec![cells.iter().flat_map(|cell| cell.map_or([0; 8], &bytes)).collect()])
    }
    let (there, mut buffers): (Vec<bool>, Vec<Vec<u8>>) = match column {
        Column::Ints(cells) => numbers(cells, i64::to_ne_bytes),
        Column::Floats(cells) => numbers(cells, u64::to_ne_bytes),
        Column::Texts(cells) => {
            let texts = cells.iter().map(|cell| cell.as_deref().unwrap_or_default());
            let mut offsets = vec![0i32];
            offsets.extend(texts.clone().scan(0, |end, text| {
                *end += text.len() as i32;
                Some(*end)
            }));
            let offsets = offsets.into_iter().flat_map(i32::to_ne_bytes).collect();
            (
                cells.iter().map(Option::is_some).collect(),
                vec![offsets, texts.collect::<String>().into_bytes()],
            )
        }
    };
    let nulls = there.iter().filter(|there| !**there).count();
    let bits = |eight: &[bool]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let validity = if nulls > 0 { there.chunks(8).map(bits).collect() } else { Vec::new() };
    buffers.insert(0, validity);
    array(there.len(), nulls, buffers, Vec::new(), live)
}

unsafe extern "C" fn get_schema(stream: *mut Stream, out: *mut Schema) -> i32 {
    // SAFETY: the stream is one of ours, and `out` the caller's place.
    unsafe {
        let source = &*(*stream).private_data.cast::<Source>();
        let fields = source.names.iter().zip(&source.formats);
        let fields = fields.map(|(name, format)| schema(format, name, NULLABLE, Vec::new(), &source.live));
        out.write(schema(c"+s", "", 0, fields.collect(), &source.live));
    }
    0
}

unsafe extern "C" fn get_next(stream: *mut Stream, out: *mut Array) -> i32 {
    // SAFETY: as above.
    unsafe {
        let source = &mut *(*stream).private_data.cast::<Source>();
        let Some(batch) = source.batches.pop_front() else {
            // The end is an array that is released already; null is a value of every field.
            out.write(std::mem::zeroed());
            return 0;
        };
        let children = batch.iter().map(|cells| column(cells, &source.live)).collect();
        out.write(array(batch.first().map_or(0, Column::len), 0, vec![Vec::new()], children, &source.live));
    }
    0
}

unsafe extern "C" fn get_last_error(_: *mut Stream) -> *const c_char {
    std::ptr::null()
}

unsafe extern "C" fn release_stream(stream: *mut Stream) {
    // SAFETY: as above.
    unsafe {
        let source = Box::from_raw((*stream).private_data.cast::<Source>());
        source.live.fetch_sub(1, Ordering::SeqCst);
        (*stream).release = None;
    }
}

/// Frees a schema or an array with what it is released by.
struct Released<T>(T, fn(&mut T));

impl<T> Drop for Released<T> {
    fn drop(&mut self) {
        (self.1)(&mut self.0);
    }
}

/// Reads a stream to its end.
pub(super) fn read(stream: &mut ArrowStream) -> Result<Table, String> {
    let stream = stream.as_mut_ptr().cast::<Stream>();
    // SAFETY: the stream is live; null is a value of every field of what it fills.
    unsafe {
        let get_schema = (*stream).get_schema.ok_or("a stream has no `get_schema`")?;
        let get_next = (*stream).get_next.ok_or("a stream has no `get_next`")?;
        let mut schema = Released::<Schema>(std::mem::zeroed(), |schema| {
            if let Some(release) = schema.release {
                release(schema);
            }
        });
        answered(stream, "get_schema", get_schema(stream, &mut schema.0))?;
        let (names, formats) = fields(&schema.0)?;
        let mut batches = Vec::new();
        loop {
            let mut batch = Released::<Array>(std::mem::zeroed(), |array| {
                if let Some(release) = array.release {
                    release(array);
                }
            });
            answered(stream, "get_next", get_next(stream, &mut batch.0))?;
            if batch.0.release.is_none() {
                return Ok(Table { names, batches });
            }
            batches.push(columns(&batch.0, &formats)?);
        }
    }
}

/// # Safety
/// The stream must be live.
unsafe fn answered(stream: *mut Stream, what: &str, answer: i32) -> Result<(), String> {
    if answer == 0 {
        return Ok(());
    }
    // SAFETY: promised by the caller; the text lives until the next call.
    let why = unsafe {
        let text = (*stream).get_last_error.map_or(std::ptr::null(), |last| last(stream));
        if text.is_null() {
            ""
        } else {
            CStr::from_ptr(text).to_str().unwrap_or("not utf-8")
        }
    };
    Err(format!("`{what}` answered {answer}: {why}"))
}

/// # Safety
/// The schema must be live.
unsafe fn fields(schema: &Schema) -> Result<(Vec<String>, Vec<String>), String> {
    // SAFETY: promised by the caller; formats are never null, names may be.
    unsafe {
        let text = |text: *const c_char| match text.is_null() {
            true => String::new(),
            false => CStr::from_ptr(text).to_string_lossy().into_owned(),
        };
        let own = text(schema.format);
        if own != "+s" {
            return Err(format!("a stream is of `{own}`: expected `+s`"));
        }
        let children = (0..schema.n_children as usize).map(|i| &**schema.children.add(i));
        Ok(children.map(|child| (text(child.name), text(child.format))).unzip())
    }
}

/// # Safety
/// The array must be live and of these formats.
unsafe fn columns(batch: &Array, formats: &[String]) -> Result<Vec<Column>, String> {
    if batch.n_children != formats.len() as i64 {
        return Err(format!("a batch has {} columns: expected {}", batch.n_children, formats.len()));
    }
    let read = |(i, format): (usize, &String)| {
        // SAFETY: promised by the caller.
        let array = unsafe { &**batch.children.add(i) };
        if array.length < batch.offset + batch.length {
            return Err(format!("a column of {} in a batch of {} rows", array.length, batch.length));
        }
        let buffers = if format == "u" { 3 } else { 2 };
        if array.n_buffers != buffers {
            return Err(format!(
                "a column of `{format}` has {} buffers: expected {buffers}",
                array.n_buffers
            ));
        }
        let rows = (0..batch.length).map(|row| (row + batch.offset + array.offset) as usize);
        // SAFETY: promised by the caller: buffers are as long as the format and the length say.
        unsafe {
            let buffer = |i: usize| *array.buffers.add(i);
            let validity = buffer(0).cast::<u8>();
            let there = |row: usize| validity.is_null() || *validity.add(row / 8) >> (row % 8) & 1 == 1;
            Ok(match format.as_str() {
                "l" => {
                    let cells = buffer(1).cast::<i64>();
                    Column::Ints(
                        rows.map(|row| there(row).then(|| cells.add(row).read_unaligned())).collect(),
                    )
                }
                "g" => {
                    let cells = buffer(1).cast::<u64>();
                    Column::Floats(
                        rows.map(|row| there(row).then(|| cells.add(row).read_unaligned())).collect(),
                    )
                }
                "u" => {
                    let (offsets, text) = (buffer(1).cast::<i32>(), buffer(2).cast::<u8>());
                    let cell = |row: usize| {
                        let (start, end) =
                            (offsets.add(row).read_unaligned(), offsets.add(row + 1).read_unaligned());
                        if start == end {
                            return String::new();
                        }
                        let bytes =
                            std::slice::from_raw_parts(text.add(start as usize), (end - start) as usize);
                        String::from_utf8_lossy(bytes).into_owned()
                    };
                    Column::Texts(rows.map(|row| there(row).then(|| cell(row))).collect())
                }
                other => return Err(format!("a column is of `{other}`, which no sample has")),
            })
        }
    };
    formats.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_as_it_was_made_and_leaves_nothing() {
        let table = Table {
            names: vec!["n".to_owned(), "x".to_owned(), "t".to_owned()],
            batches: vec![
                vec![
                    Column::Ints(vec![Some(1), None, Some(-3)]),
                    Column::Floats(vec![Some(0), Some(1), None]),
                    Column::Texts(vec![Some("größe".to_owned()), None, Some(String::new())]),
                ],
                vec![Column::Ints(vec![]), Column::Floats(vec![]), Column::Texts(vec![])],
            ],
        };
        let live = Live::default();
        let mut stream = Stream::over(&table, &live).take();
        assert_eq!(read(&mut stream).unwrap(), table);
        drop(stream);
        assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}
