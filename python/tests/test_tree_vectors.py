"""The tables in docs/tree.md are what is written and read."""

from __future__ import annotations

import datetime
import decimal
import fractions
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from typing import Any

import numpy
import pytest

from retainit._native import dump_tree, load_tree

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tree.md").read_text()
VECTORS = re.findall(r"^\| `(.+)` \| `([0-9a-f]+)` \|$", TEXT, re.MULTILINE)
CODES = [int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)]
TYPES: dict[str, Any] = {
    "datetime": datetime,
    "decimal": decimal,
    "fractions": fractions,
    "ipaddress": ipaddress,
    "numpy": numpy,
    "pathlib": pathlib,
    "uuid": uuid,
    "zoneinfo": zoneinfo,
}


@pytest.mark.parametrize(("value", "tree"), VECTORS)
def test_vector(value: str, tree: str) -> None:
    it = eval(value, TYPES)
    written = dump_tree(it)
    assert written is not None
    assert written.hex() == tree
    back = load_tree(bytes.fromhex(tree))
    assert type(back) is type(it)
    assert repr(back) == repr(it)


def test_every_extension_type_has_a_vector() -> None:
    source = (ROOT / "plugin-api" / "src" / "abi" / "tree.rs").read_text()
    codes = [int(code) for code in re.findall(r"^pub const \w+: i8 = (\d+);", source, re.MULTILINE)]
    assert codes == CODES == list(range(1, len(codes) + 1))
    # Behind fixed sizes the code is the second byte, behind a length of one byte the third.
    trees = [bytes.fromhex(tree) for _, tree in VECTORS]
    shown = {
        tree[1] if 0xD4 <= tree[0] <= 0xD8 else tree[2]
        for tree in trees
        if tree[0] in {0xC7, *range(0xD4, 0xD9)}
    }
    assert shown == set(codes)
    assert len({tree for _, tree in VECTORS}) == len(VECTORS)


# Other spellings of the same values, which MessagePack allows.
LONGER = [
    ("1", "cc01"),
    ("1", "cd0001"),
    ("1", "ce00000001"),
    ("1", "cf0000000000000001"),
    ("1", "d001"),
    ("1", "d10001"),
    ("1", "d200000001"),
    ("1", "d30000000000000001"),
    ("-1", "d3ffffffffffffffff"),
    ("2**63", "c70904008000000000000000"),
    ("1", "d40401"),
    ("1.5", "ca3fc00000"),
    ("'a'", "d90161"),
    ("'a'", "da000161"),
    ("'a'", "db0000000161"),
    ("'a'", "d40561"),
    ("b'a'", "c5000161"),
    ("b'a'", "c60000000161"),
    ("[1]", "dc000101"),
    ("[1]", "dd0000000101"),
    ("{1: 2}", "de00010102"),
    ("{1: 2}", "df000000010102"),
    ("(1,)", "c702019101"),
    ("(1,)", "c80002019101"),
    ("(1,)", "c900000002019101"),
    ("(1,)", "c70601dd0000000101"),
    ("datetime.timezone.utc", "d70f0000000000000000"),
]


@pytest.mark.parametrize(("value", "tree"), LONGER)
def test_other_widths_are_read(value: str, tree: str) -> None:
    it = eval(value, TYPES)
    back = load_tree(bytes.fromhex(tree))
    assert type(back) is type(it)
    assert back == it


def test_a_nan_of_four_bytes_keeps_its_bits() -> None:
    import struct

    back = load_tree(bytes.fromhex("caffa00001"))
    assert struct.pack(">d", back).hex() == "fff4000020000000"
