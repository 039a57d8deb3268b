//! The values of arrays of one type, chunk after chunk, as digests.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::interface::{Array, RawArray, RawSchema, Schema};
use super::layout::Layout;

/// Types nested deeper than this are refused.
const DEPTH: usize = 100;

/// Some rows of an array that follow one another: the first one, and how many.
type Run = (usize, usize);

/// What has been seen of a column.
pub struct Column {
    layout: Layout,
    /// Rows so far.
    length: u64,
    /// The numbers of rows that are null.
    nulls: Lane,
    /// How long each value is, where that is not the type's.
    lengths: Lane,
    /// The values themselves.
    data: Lane,
    children: Vec<Column>,
    /// Where the rows are indices, `children` has the values they stand for.
    indices: Option<Layout>,
}

impl Column {
    /// Nothing yet of a type.
    ///
    /// # Errors
    /// A type that is not known.
    pub fn new(schema: &Schema) -> Result<Self, String> {
        Self::of(schema.raw(), DEPTH)
    }

    fn of(schema: &RawSchema, depth: usize) -> Result<Self, String> {
        if depth == 0 {
            return Err(format!("an Arrow type nested more than {DEPTH} deep"));
        }
        let layout = Layout::of(&schema.format())?;
        let parts: Vec<&RawSchema> = match schema.dictionary() {
            Some(dictionary) => vec![dictionary],
            None => schema.children().collect(),
        };
        Ok(Column {
            indices: schema.dictionary().map(|_| layout.clone()),
            layout,
            length: 0,
            nulls: Lane::default(),
            lengths: Lane::default(),
            data: Lane::default(),
            children: parts.into_iter().map(|part| Self::of(part, depth - 1)).collect::<Result<_, _>>()?,
        })
    }

    /// Adds all rows of an array.
    ///
    /// # Errors
    /// An array that is not of the column's type.
    pub fn feed(&mut self, array: &Array) -> Result<(), String> {
        self.add(array.raw(), &[(0, array.raw().length())])
    }

    /// `(length, nulls, lengths, data, children)`: a digest for each lane, or `None` for nothing.
    ///
    /// # Errors
    /// Out of memory.
    pub fn value<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let children =
            self.children.into_iter().map(|child| child.value(py)).collect::<PyResult<Vec<_>>>()?;
        let lane = |lane: Lane| lane.finish().map(|digest| PyBytes::new(py, &digest));
        let parts =
            (self.length, lane(self.nulls), lane(self.lengths), lane(self.data), PyTuple::new(py, children)?);
        Ok(parts.into_pyobject(py)?.into_any())
    }

    fn add(&mut self, array: &RawArray, runs: &[Run]) -> Result<(), String> {
        if runs.iter().any(|run| run.0 + run.1 > array.length()) {
            return Err("an Arrow array refers to rows beyond the end of another".to_owned());
        }
        let rows: usize = runs.iter().map(|run| run.1).sum();
        let bitmap = if self.layout.has_validity() { array.buffer(0) } else { std::ptr::null() };
        if bitmap.is_null() || !array.may_have_nulls() {
            self.length += rows as u64;
            return self.add_values(array, runs);
        }
        // A null row is its number and nothing else: what lies in its place is left out.
        let mut valid = Vec::new();
        for &(start, count) in runs {
            for row in start..start + count {
                let bit = array.offset() + row;
                // SAFETY: the bitmap has a bit for each row.
                if unsafe { *bitmap.add(bit / 8) } >> (bit % 8) & 1 == 1 {
                    append(&mut valid, row, 1);
                } else {
                    self.nulls.push(&self.length.to_le_bytes());
                }
                self.length += 1;
            }
        }
        self.add_values(array, &valid)
    }

    /// Adds rows that are not null.
    fn add_values(&mut self, array: &RawArray, runs: &[Run]) -> Result<(), String> {
        if runs.iter().all(|run| run.1 == 0) {
            return Ok(());
        }
        if let Some(Layout::Fixed(width)) = self.indices {
            return self.add_indexed(array, runs, width);
        }
        let offset = array.offset();
        match self.layout {
            Layout::Null => {}
            Layout::Bool => {
                for &(start, count) in runs {
                    for bit in offset + start..offset + start + count {
                        // SAFETY: the buffer has a bit for each row.
                        let byte = unsafe { *array.buffer(1).add(bit / 8) };
                        self.data.push(&[byte >> (bit % 8) & 1]);
                    }
                }
            }
            Layout::Fixed(width) => {
                for &(start, count) in runs {
                    // SAFETY: the buffer has so many bytes for each row.
                    self.data
                        .push(unsafe { bytes(array.buffer(1), (offset + start) * width, count * width) });
                }
            }
            Layout::Bytes { wide } => {
                for &(start, count) in runs {
                    let (first, last) = self.add_lengths(array, wide, offset + start, count)?;
                    // SAFETY: offsets lie within the buffer, and never go back.
                    self.data.push(unsafe { bytes(array.buffer(2), first, last - first) });
                }
            }
            Layout::View => self.add_views(array, runs),
            Layout::List { wide } => {
                let mut items = Vec::new();
                for &(start, count) in runs {
                    let (first, last) = self.add_lengths(array, wide, offset + start, count)?;
                    append(&mut items, first, last - first);
                }
                self.part(0)?.add(array.child(0)?, &items)?;
            }
            Layout::ListView { wide } => {
                let mut items = Vec::new();
                for row in rows(runs) {
                    // SAFETY: the buffers have an offset and a size for each row.
                    let (first, size) = unsafe {
                        let at = offset + row;
                        (integer(array.buffer(1), at, wide), integer(array.buffer(2), at, wide))
                    };
                    self.lengths.push(&(size as u64).to_le_bytes());
                    append(&mut items, first, size);
                }
                self.part(0)?.add(array.child(0)?, &items)?;
            }
            Layout::FixedList(size) => {
                let items: Vec<Run> =
                    runs.iter().map(|&(start, count)| ((offset + start) * size, count * size)).collect();
                self.part(0)?.add(array.child(0)?, &items)?;
            }
            Layout::Struct => {
                let moved: Vec<Run> = runs.iter().map(|&(start, count)| (offset + start, count)).collect();
                for (index, child) in self.children.iter_mut().enumerate() {
                    child.add(array.child(index)?, &moved)?;
                }
            }
            Layout::Union { .. } => self.add_union(array, runs)?,
            Layout::RunEnd => self.add_run_ends(array, runs)?,
        }
        Ok(())
    }

    /// Adds how long each of some rows is; where the first begins and the last ends.
    fn add_lengths(
        &mut self,
        array: &RawArray,
        wide: bool,
        at: usize,
        count: usize,
    ) -> Result<(usize, usize), String> {
        let offsets = array.buffer(1);
        // SAFETY: there is one more offset than rows.
        unsafe {
            let first = integer(offsets, at, wide);
            let mut last = first;
            for row in at + 1..=at + count {
                let end = integer(offsets, row, wide);
                let length = end.checked_sub(last).ok_or("an Arrow array has offsets that go back")?;
                self.lengths.push(&(length as u64).to_le_bytes());
                last = end;
            }
            Ok((first, last))
        }
    }

    fn add_views(&mut self, array: &RawArray, runs: &[Run]) {
        let views = array.buffer(1);
        for row in rows(runs) {
            // SAFETY: sixteen bytes for each row: a length, and the bytes themselves up to twelve, or
            // four of them, the number of a buffer and where in it they lie.
            unsafe {
                let view = views.add((array.offset() + row) * 16);
                let length = view.cast::<u32>().read_unaligned() as usize;
                self.lengths.push(&(length as u64).to_le_bytes());
                if length <= 12 {
                    self.data.push(bytes(view, 4, length));
                } else {
                    let buffer = view.add(8).cast::<u32>().read_unaligned() as usize;
                    let start = view.add(12).cast::<u32>().read_unaligned() as usize;
                    self.data.push(bytes(array.buffer(2 + buffer), start, length));
                }
            }
        }
    }

    /// Adds the values that indices stand for.
    fn add_indexed(&mut self, array: &RawArray, runs: &[Run], width: usize) -> Result<(), String> {
        let indices = array.buffer(1);
        let mut items = Vec::new();
        for row in rows(runs) {
            let at = array.offset() + row;
            // SAFETY: the buffer has an index for each row.
            let index = unsafe {
                match width {
                    1 => usize::from(*indices.add(at)),
                    2 => usize::from(indices.cast::<u16>().add(at).read_unaligned()),
                    _ => integer(indices, at, width == 8),
                }
            };
            append(&mut items, index, 1);
        }
        self.part(0)?.add(array.dictionary()?, &items)
    }

    fn add_union(&mut self, array: &RawArray, runs: &[Run]) -> Result<(), String> {
        let Layout::Union { dense, numbers } = self.layout.clone() else { return Ok(()) };
        let mut parts: Vec<Vec<Run>> = vec![Vec::new(); self.children.len()];
        for row in rows(runs) {
            let at = array.offset() + row;
            // SAFETY: the buffers have a number, and in dense unions an offset, for each row.
            let (number, inner) = unsafe {
                let number = *array.buffer(0).add(at) as i8;
                (number, if dense { integer(array.buffer(1), at, false) } else { at })
            };
            let index = numbers.iter().position(|&each| each == number);
            let part = index.and_then(|index| parts.get_mut(index));
            append(part.ok_or("an Arrow union has a row of no type")?, inner, 1);
            self.data.push(&[number as u8]);
        }
        for (index, (child, items)) in self.children.iter_mut().zip(&parts).enumerate() {
            child.add(array.child(index)?, items)?;
        }
        Ok(())
    }

    /// Adds each row's value, so that how they are grouped makes no difference.
    fn add_run_ends(&mut self, array: &RawArray, runs: &[Run]) -> Result<(), String> {
        let ends = array.child(0)?;
        let Layout::Fixed(width) = self.part(0)?.layout else {
            return Err("an Arrow array of runs without their ends".to_owned());
        };
        let end = |index: usize| {
            let at = ends.offset() + index;
            // SAFETY: the buffer has an integer for each run.
            unsafe {
                match width {
                    2 => usize::from(ends.buffer(1).cast::<u16>().add(at).read_unaligned()),
                    _ => integer(ends.buffer(1), at, width == 8),
                }
            }
        };
        let mut items = Vec::new();
        for &(start, count) in runs {
            let mut index = 0;
            for row in array.offset() + start..array.offset() + start + count {
                while index < ends.length() && end(index) <= row {
                    index += 1;
                }
                items.push((index, 1));
            }
        }
        self.part(1)?.add(array.child(1)?, &items)
    }

    fn part(&mut self, index: usize) -> Result<&mut Column, String> {
        self.children
            .get_mut(index)
            .ok_or_else(|| "an Arrow type has fewer children than it needs".to_owned())
    }
}

fn rows(runs: &[Run]) -> impl Iterator<Item = usize> + '_ {
    runs.iter().flat_map(|&(start, count)| start..start + count)
}

/// Adds a run, to the last one where it follows it.
fn append(runs: &mut Vec<Run>, start: usize, count: usize) {
    match runs.last_mut() {
        Some(last) if last.0 + last.1 == start => last.1 += count,
        _ => runs.push((start, count)),
    }
}

/// # Safety
/// The buffer has so many bytes, unless none are asked for.
unsafe fn bytes<'a>(buffer: *const u8, start: usize, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts(buffer.add(start), len) }
}

/// # Safety
/// The buffer has so many integers, which are not negative.
#[inline(always)]
unsafe fn integer(buffer: *const u8, at: usize, wide: bool) -> usize {
    // SAFETY: as promised.
    unsafe {
        if wide {
            buffer.cast::<u64>().add(at).read_unaligned() as usize
        } else {
            buffer.cast::<u32>().add(at).read_unaligned() as usize
        }
    }
}

/// Bytes that are digested as they come.
#[derive(Default)]
struct Lane {
    hasher: Option<Box<blake3::Hasher>>,
    /// Small pieces, put together: the digest is fast for many bytes at once.
    pending: Vec<u8>,
}

impl Lane {
    const BLOCK: usize = 64 * 1024;

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > Self::BLOCK {
            self.flush(bytes);
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    #[cold]
    fn flush(&mut self, bytes: &[u8]) {
        let hasher = self.hasher.get_or_insert_default();
        hasher.update(&self.pending);
        self.pending.clear();
        if bytes.len() > Self::BLOCK {
            hasher.update(bytes);
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// The digest; `None` where nothing has come.
    fn finish(self) -> Option<[u8; 32]> {
        match self.hasher {
            None if self.pending.is_empty() => None,
            None => Some(*blake3::hash(&self.pending).as_bytes()),
            Some(mut hasher) => Some(*hasher.update(&self.pending).finalize().as_bytes()),
        }
    }
}
