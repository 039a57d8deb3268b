//! Heads and numbers, as short as they get.
//!
//! What is longer than 32 bits say has no head: the functions that take a length answer `None` then.

/// The longest text, bytes and bodies, and the most items.
pub const LONGEST: usize = u32::MAX as usize;

/// An integer.
#[inline(always)]
pub fn int(out: &mut Vec<u8>, value: i64) {
    match value {
        -32..=127 => out.push(value as u8),
        128..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => head2(out, 0xcd, value as u16),
        0x1_0000..=0xffff_ffff => head4(out, 0xce, value as u32),
        0x1_0000_0000..=i64::MAX => unsigned(out, value as u64),
        -128..=-33 => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000..=-129 => head2(out, 0xd1, value as u16),
        -0x8000_0000..=-0x8001 => head4(out, 0xd2, value as u32),
        _ => head8(out, 0xd3, value as u64),
    }
}

/// An integer of 64 bits without sign, beyond 32.
#[inline]
pub fn unsigned(out: &mut Vec<u8>, value: u64) {
    head8(out, 0xcf, value);
}

/// A float, by its bits.
#[inline(always)]
pub fn float(out: &mut Vec<u8>, value: f64) {
    head8(out, 0xcb, value.to_bits());
}

/// The head of text of so many bytes.
#[inline(always)]
pub fn text(out: &mut Vec<u8>, len: usize) -> Option<()> {
    match len {
        0..=31 => out.push(0xa0 | len as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        _ => return long(out, 0xda, len),
    }
    Some(())
}

/// The head of so many bytes.
#[inline]
pub fn bytes(out: &mut Vec<u8>, len: usize) -> Option<()> {
    if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[0xc4, len]);
        return Some(());
    }
    long(out, 0xc5, len)
}

/// The head of a list of so many items.
#[inline(always)]
pub fn list(out: &mut Vec<u8>, count: usize) -> Option<()> {
    if count < 16 {
        out.push(0x90 | count as u8);
        return Some(());
    }
    long(out, 0xdc, count)
}

/// The head of a dict of so many pairs.
#[inline(always)]
pub fn dict(out: &mut Vec<u8>, count: usize) -> Option<()> {
    if count < 16 {
        out.push(0x80 | count as u8);
        return Some(());
    }
    long(out, 0xde, count)
}

/// The head of an extension type with a body of so many bytes.
#[inline]
pub fn extension(out: &mut Vec<u8>, code: i8, len: usize) -> Option<()> {
    match len {
        1 | 2 | 4 | 8 | 16 => out.push(0xd4 + len.trailing_zeros() as u8),
        0..=0xff => out.extend_from_slice(&[0xc7, len as u8]),
        _ => long(out, 0xc8, len)?,
    }
    out.push(code as u8);
    Some(())
}

/// An extension type whose body's length is not known before it is written.
#[derive(Debug)]
pub struct Open {
    at: usize,
    code: i8,
}

/// Most bodies have from 17 to 255 bytes, or nearly: others are moved once they are written.
const ROOM: usize = 3;

/// Begins one; its body is written next.
#[inline]
pub fn open(out: &mut Vec<u8>, code: i8) -> Open {
    let at = out.len();
    out.extend_from_slice(&[0; ROOM]);
    Open { at, code }
}

/// Ends one: puts its head before the body.
#[inline]
pub fn close(out: &mut Vec<u8>, open: Open) -> Option<()> {
    let Open { at, code } = open;
    let body = at + ROOM;
    let len = out.len() - body;
    let mut head = [0; 6];
    let size = match len {
        1 | 2 | 4 | 8 | 16 => {
            head[..2].copy_from_slice(&[0xd4 + len.trailing_zeros() as u8, code as u8]);
            2
        }
        0..=0xff => {
            head[..3].copy_from_slice(&[0xc7, len as u8, code as u8]);
            3
        }
        0x100..=0xffff => {
            head[0] = 0xc8;
            head[1..3].copy_from_slice(&(len as u16).to_be_bytes());
            head[3] = code as u8;
            4
        }
        _ => {
            head[0] = 0xc9;
            head[1..5].copy_from_slice(&u32::try_from(len).ok()?.to_be_bytes());
            head[5] = code as u8;
            6
        }
    };
    if size > ROOM {
        out.extend_from_slice(&[0; 6][..size - ROOM]);
    }
    if size != ROOM {
        out.copy_within(body..body + len, at + size);
        out.truncate(at + size + len);
    }
    out[at..at + size].copy_from_slice(&head[..size]);
    Some(())
}

/// The head `head` for a length of two bytes, the one after it for four.
fn long(out: &mut Vec<u8>, head: u8, len: usize) -> Option<()> {
    match u16::try_from(len) {
        Ok(len) => head2(out, head, len),
        Err(_) => head4(out, head + 1, u32::try_from(len).ok()?),
    }
    Some(())
}

#[inline(always)]
fn head2(out: &mut Vec<u8>, head: u8, value: u16) {
    let [a, b] = value.to_be_bytes();
    out.extend_from_slice(&[head, a, b]);
}

#[inline(always)]
fn head4(out: &mut Vec<u8>, head: u8, value: u32) {
    let [a, b, c, d] = value.to_be_bytes();
    out.extend_from_slice(&[head, a, b, c, d]);
}

#[inline(always)]
fn head8(out: &mut Vec<u8>, head: u8, value: u64) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    out.extend_from_slice(&[head, a, b, c, d, e, f, g, h]);
}
