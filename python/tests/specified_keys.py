"""What docs/keys.md says, a second time: written from the page, with nothing of the implementation.

Builtins in full, and of the other types those that show each kind of rule: names with one value, arrays
with dtype and content, Arrow columns with their lanes.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa


def encode(value: Any) -> bytes:
    """The encoding of a value."""
    encoding = _whole(value)
    return encoding if len(encoding) <= 4096 else b"\x22" + blake3(encoding)


def _whole(value: Any) -> bytes:
    kind = type(value)
    if value is None or kind is bool:
        return b"\x01" if value is None else b"\x03" if value else b"\x02"
    if kind is float:
        return b"\x04" + struct.pack("<d", value)
    if kind is complex:
        return b"\x05" + struct.pack("<dd", value.real, value.imag)
    if kind is int:
        size = 0
        while not -(1 << 8 * size) <= 2 * value < 1 << 8 * size and value:
            size += 1
        body = int(value).to_bytes(size, "little", signed=True) if value else b""
        return bytes([0x10 + size]) + body if size <= 8 else b"\x06" + _length(size) + body
    if kind is str:
        body = str(value).encode("utf-8", "surrogatepass")
        return b"\x07" + _length(len(body)) + body
    if kind in (bytes, bytearray):
        return (b"\x08" if kind is bytes else b"\x09") + _length(len(value)) + bytes(value)
    if kind in (tuple, list):
        return (b"\x0a" if kind is tuple else b"\x0b") + _length(len(value)) + b"".join(map(encode, value))
    if kind in (set, frozenset):
        return (
            (b"\x0c" if kind is set else b"\x0d") + _length(len(value)) + b"".join(sorted(map(encode, value)))
        )
    if kind is dict:
        pairs = sorted(encode(name) + encode(each) for name, each in value.items())
        return b"\x0e" + _length(len(value)) + b"".join(pairs)
    name, reduced = _other(value)
    body = name.encode()
    return b"\x0f" + _length(len(body)) + body + encode(reduced)


def _length(length: int) -> bytes:
    parts = []
    while length >= 0x80:
        parts.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*parts, length])


def _other(value: Any) -> tuple[str, Any]:
    if type(value) is np.ndarray:
        return "numpy.ndarray", (_dtype(value.dtype), value.shape, _content(value))
    if isinstance(value, np.generic):
        return "numpy.scalar", (_dtype(value.dtype), _content(np.array(value)))
    if isinstance(value, pa.Table):
        rows = value.to_pylist()
        fields = tuple(_field(each.name, each.type) for each in value.schema)
        children = tuple(_column(each.type, [row[each.name] for row in rows]) for each in value.schema)
        return "pyarrow.Table", (("+s", "", 0, (), fields, None), (len(rows), None, None, None, children))
    if isinstance(value, pa.Array):
        return "pyarrow.Array", (_field("", value.type), _column(value.type, value.to_pylist()))
    raise TypeError(type(value))


def _dtype(dtype: Any) -> Any:
    if dtype.subdtype is not None:
        return "array", _dtype(dtype.subdtype[0]), dtype.subdtype[1]
    if dtype.names is None:
        return dtype.str
    fields = [(name, *dtype.fields[name], None) for name in dtype.names]
    parts = tuple((name, title, offset, _dtype(kind)) for name, kind, offset, title, *_ in fields)
    return "void", dtype.itemsize, parts


def _content(array: Any) -> Any:
    if array.dtype.names is not None:
        return tuple(_content(array[name]) for name in array.dtype.names)
    return array.ravel().tolist() if array.dtype.hasobject else array.tobytes("C")


FORMATS = {
    pa.null(): "n", pa.bool_(): "b", pa.int8(): "c", pa.int32(): "i", pa.int64(): "l",
    pa.float64(): "g", pa.string(): "u", pa.large_string(): "U", pa.string_view(): "vu", pa.binary(): "z",
}  # fmt: skip
PACKED = {pa.bool_(): "?", pa.int8(): "<b", pa.int32(): "<i", pa.int64(): "<q", pa.float64(): "<d"}


def _field(name: str, kind: Any) -> Any:
    if pa.types.is_dictionary(kind):
        return FORMATS[kind.index_type], name, 2, (), (), _field("", kind.value_type)
    if pa.types.is_struct(kind):
        return "+s", name, 2, (), tuple(_field(each.name, each.type) for each in kind), None
    if pa.types.is_list(kind):
        return "+l", name, 2, (), (_field("item", kind.value_type),), None
    return FORMATS[kind], name, 2, (), (), None


def _column(kind: Any, rows: list[Any]) -> Any:
    if kind == pa.null():
        return len(rows), None, None, None, ()
    nulls = b"".join(struct.pack("<Q", index) for index, row in enumerate(rows) if row is None)
    there = [row for row in rows if row is not None]
    lengths = data = b""
    children: tuple[Any, ...] = ()
    if kind in PACKED:
        data = b"".join(struct.pack(PACKED[kind], row) for row in there)
    elif pa.types.is_dictionary(kind):
        children = (_column(kind.value_type, there),)
    elif pa.types.is_struct(kind):
        children = tuple(_column(each.type, [row[each.name] for row in there]) for each in kind)
    else:
        items = [row.encode() if isinstance(row, str) else row for row in there]
        lengths = b"".join(struct.pack("<Q", len(row)) for row in items)
        if pa.types.is_list(kind):
            children = (_column(kind.value_type, [each for row in items for each in row]),)
        else:
            data = b"".join(items)
    return len(rows), *(blake3(lane) if lane else None for lane in (nulls, lengths, data)), children


# --- BLAKE3 --------------------------------------------------------------------------------------

START = [
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
]  # fmt: skip
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
MIXED = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
MIXED += [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def blake3(data: bytes) -> bytes:
    """The digest, 32 bytes."""
    chunks = [data[at : at + 1024] for at in range(0, len(data), 1024)] or [b""]
    words = _tree(chunks, 0, ROOT)
    return struct.pack("<8I", *words)


def _tree(chunks: list[bytes], first: int, flags: int) -> list[int]:
    if len(chunks) == 1:
        return _chunk(chunks[0], first, flags)
    # The left side is the largest power of two that leaves something for the right one.
    left = 1 << (len(chunks) - 1).bit_length() - 1
    sides = _tree(chunks[:left], first, 0) + _tree(chunks[left:], first + left, 0)
    return _compress(START, sides, 0, 64, PARENT | flags)


def _chunk(chunk: bytes, index: int, flags: int) -> list[int]:
    blocks = [chunk[at : at + 64] for at in range(0, len(chunk), 64)] or [b""]
    state = START
    for number, block in enumerate(blocks):
        marks = (CHUNK_START if number == 0 else 0) | (CHUNK_END | flags if number == len(blocks) - 1 else 0)
        words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
        state = _compress(state, words, index, len(block), marks)
    return state


def _compress(chained: list[int], words: list[int], counter: int, size: int, flags: int) -> list[int]:
    v = [*chained, *START[:4], counter & 0xFFFFFFFF, counter >> 32, size, flags]
    for _ in range(7):
        for number, (a, b, c, d) in enumerate(MIXED):
            for word, first, second in ((words[2 * number], 16, 12), (words[2 * number + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & 0xFFFFFFFF
                v[d] = _turned(v[d] ^ v[a], first)
                v[c] = (v[c] + v[d]) & 0xFFFFFFFF
                v[b] = _turned(v[b] ^ v[c], second)
        words = [words[at] for at in ORDER]
    return [v[index] ^ v[index + 8] for index in range(8)]


def _turned(word: int, bits: int) -> int:
    return (word >> bits | word << 32 - bits) & 0xFFFFFFFF
