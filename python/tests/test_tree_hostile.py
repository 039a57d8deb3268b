"""Whatever bytes are read as a tree: a value or an error, within bounds, and nothing is left behind."""

from __future__ import annotations

import datetime
import decimal
import fractions
import gc
import ipaddress
import pathlib
import random
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pytest

from retainit._native import dump_tree, load_tree

SAMPLE: list[Any] = [
    *(
        None,
        True,
        1,
        -1,
        300,
        -300,
        2**40,
        -(2**40),
        2**64 - 1,
        2**100,
        -(2**100),
        1.5,
        "text",
        "é日😀",
        "\ud800",
    ),
    *(b"bytes", bytearray(b"more"), 1j, [1, [2]], (1, (2,)), {1, 2}, frozenset({3}), {"a": 1, 2: {"b": [3]}}),
    *(decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7), datetime.date(2026, 1, 2)),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.time(1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "name")),
    *(datetime.timedelta(1, 2, 3), range(3), slice(1, 2), ..., pathlib.PurePosixPath("/a/b")),
    *(
        ipaddress.ip_address("::1"),
        np.arange(6, dtype="<i2").reshape(2, 3),
        np.float32(1),
        np.datetime64("2026", "Y"),
    ),
]
TREES = [dump_tree(value) or b"" for value in SAMPLE]
WHOLE = dump_tree(SAMPLE) or b""


def attempt(tree: bytes) -> Any:
    """A value or any error; what is left is a crash, which ends the process."""
    try:
        return load_tree(tree)
    except Exception as error:
        return error


@pytest.mark.parametrize("tree", [*TREES, WHOLE], ids=lambda tree: tree[:4].hex())
def test_every_truncation_is_an_error(tree: bytes) -> None:
    load_tree(tree)
    for length in range(len(tree)):
        with pytest.raises(ValueError, match=r"malformed tree at byte|unexpected end"):
            load_tree(tree[:length])
    with pytest.raises(ValueError, match="bytes behind the value"):
        load_tree(tree + b"\xc0")


def test_every_flipped_bit_gives_a_value_or_an_error() -> None:
    for at in range(len(WHOLE)):
        for bit in range(8):
            attempt(WHOLE[:at] + bytes([WHOLE[at] ^ 1 << bit]) + WHOLE[at + 1 :])


def test_noise_gives_a_value_or_an_error() -> None:
    chance = random.Random(11)
    for _ in range(30_000):
        tree = bytearray(chance.randbytes(chance.randrange(40)))
        if chance.random() < 0.7:
            # A tree with a few bytes changed gets further than noise.
            tree = bytearray(chance.choice(TREES))
            for _ in range(chance.randrange(1, 4)):
                tree[chance.randrange(len(tree))] = chance.randrange(256)
        attempt(bytes(tree))


def extension(code: int, body: bytes) -> bytes:
    return bytes([0xC7, len(body), code]) + body


MALFORMED = {
    "nothing": b"",
    "a byte that begins nothing": b"\xc1",
    "text that is not UTF-8": b"\xa1\xff",
    "text with an overlong form": b"\xa2\xc0\x80",
    "text with a surrogate": b"\xa3\xed\xa0\x80",
    "a key that is not UTF-8": b"\x81\xa1\xff\x01",
    "two equal keys": b"\x82\xa1a\x01\xa1a\x02",
    "keys that are equal to Python": b"\x82\x01\x01\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x02",
    "a flag equal to a number": b"\x82\x01\x01\xc3\x02",
    "two equal members": extension(2, b"\x92\x01\xc3"),
    "a key without a hash": b"\x81\x90\x01",
    "a dict as a key": b"\x81\x80\x01",
    "a bytearray as a key": b"\x81" + extension(6, b"a") + b"\x01",
    "a tuple of a list as a key": b"\x81" + extension(1, b"\x91\x90") + b"\x01",
    "a member without a hash": extension(3, b"\x91\x90"),
    "a signalling NaN as a key": b"\x81" + extension(8, b"sNaN") + b"\x01",
    "an unknown code": extension(99, b""),
    "a negative code": extension(0xFF, b"\0\0\0\0"),
    "a tuple that is no array": extension(1, b"\x01"),
    "a tuple with too little": extension(1, b"\x92\x01"),
    "a tuple with too much": extension(1, b"\x91\x01\x02"),
    "a tuple beyond its body": b"\x92" + extension(1, b"\x92\x01") + b"\x02\x03",
    "a big int of nothing": extension(4, b""),
    "surrogates that are none": extension(5, b"\xed\xa0"),
    "surrogates in an overlong form": extension(5, b"\xc0\x80"),
    "half a complex number": extension(7, b"\0" * 8),
    "a complex number and a half": extension(7, b"\0" * 24),
    "a decimal of nothing": extension(8, b""),
    "a decimal of spaces": extension(8, b" 1"),
    "a decimal of underscores": extension(8, b"1_0"),
    "a decimal of other digits": extension(8, "٣".encode()),
    "a decimal of words": extension(8, b"inf"),
    "a fraction of floats": extension(9, b"\x92\x01\xcb\x3f\xf0\0\0\0\0\0\0"),
    "a fraction of flags": extension(9, b"\x92\xc3\x02"),
    "a fraction by zero": extension(9, b"\x92\x01\x00"),
    "a fraction not in lowest terms": extension(9, b"\x92\x02\x04"),
    "a fraction by less than zero": extension(9, b"\x92\x01\xfd"),
    "a fraction of three": extension(9, b"\x93\x01\x02\x03"),
    "a short UUID": extension(10, b"\0" * 15),
    "a UUID of unknown safety": extension(10, b"\0" * 16 + b"\x02"),
    "a 30th of February": extension(11, b"\x07\xea\x02\x1e"),
    "a 29th of February": extension(11, b"\x07\xea\x02\x1d"),
    "a month 13": extension(11, b"\x07\xea\x0d\x01"),
    "a year 0": extension(11, b"\0\0\x01\x01"),
    "a year 10000": extension(11, b"\x27\x10\x01\x01"),
    "an hour 24": extension(12, b"\x18\0\0\0\0\0"),
    "a second 60": extension(12, b"\0\0\x3c\0\0\0"),
    "a million microseconds": extension(12, b"\0\0\0\x0f\x42\x40"),
    "a time with another zone": extension(12, b"\0\0\0\0\0\0\x01"),
    "a time with two zones": extension(12, b"\0\0\0\0\0\0\xc7\0\x0f\xc7\0\x0f"),
    "seconds of more than a day": extension(14, b"\0\0\0\0\0\x01\x51\x80\0\0\0\0"),
    "days beyond all": extension(14, b"\x3b\x9a\xca\0" + b"\0" * 8),
    "an offset of a day": extension(15, (86_400_000_000).to_bytes(8, "big")),
    "an offset with a number for its name": extension(15, b"\0" * 8 + b"\x01"),
    "an unknown zone": extension(16, b"Nowhere/Never"),
    "a zone outside of the database": extension(16, b"../../etc/passwd"),
    "a zone without a key": extension(16, b""),
    "a range of floats": extension(17, b"\x93\x01\x02\xcb\x3f\xf0\0\0\0\0\0\0"),
    "a range without steps": extension(17, b"\x93\x01\x02\x00"),
    "an ellipsis of something": extension(19, b"a"),
    "an unknown class of paths": extension(20, b"\x04a"),
    "a path that is not text": extension(20, b"\0\xff"),
    "a path of Windows": extension(20, b"\x03a"),
    "an unknown class of addresses": extension(21, b"\x06::1"),
    "an address that is none": extension(21, b"\x001.2.3"),
    "an array of objects": extension(22, b"\x94\xa2|O\x91\x01\xa1C\xc4\x08" + b"\0" * 8),
    "an array of records": extension(22, b"\x94\xa3|V8\x91\x01\xa1C\xc4\x08" + b"\0" * 8),
    "an array of too little": extension(22, b"\x94\xa3<i4\x91\x02\xa1C\xc4\x04\0\0\0\0"),
    "an array of too much": extension(22, b"\x94\xa3<i4\x91\x00\xa1C\xc4\x04\0\0\0\0"),
    "an array of extents that overflow": extension(
        22, b"\x94\xa3<i4\x92\xcf\x40\0\0\0\0\0\0\0\xcf\x40\0\0\0\0\0\0\0\xa1C\xc4\0"
    ),
    "an array of less than nothing": extension(22, b"\x94\xa3<i4\x91\xff\xa1C\xc4\0"),
    "an array in another order": extension(22, b"\x94\xa3<i4\x90\xa1K\xc4\x04\0\0\0\0"),
    "an array of nothings": extension(22, b"\x94\xa3|S0\x91\x01\xa1C\xc4\0"),
    "an array element of too little": extension(23, b"\x92\xa3<i4\xc4\x02\0\0"),
    "a long claim for a list": b"\xdd\xff\xff\xff\xff",
    "a long claim for a dict": b"\xdf\xff\xff\xff\xff\x01",
    "a long claim for text": b"\xdb\xff\xff\xff\xffa",
    "a long claim for bytes": b"\xc6\xff\xff\xff\xffa",
    "a long claim for a tuple": extension(1, b"\xdd\xff\xff\xff\xff"),
    "a long claim for a body": b"\xc9\xff\xff\xff\xff\x01\x90",
}


@pytest.mark.parametrize("tree", MALFORMED.values(), ids=MALFORMED)
def test_malformed(tree: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, ZeroDivisionError, NotImplementedError)):
        load_tree(tree)
    # Within something else it is one as well.
    with pytest.raises((ValueError, TypeError, KeyError, ZeroDivisionError, NotImplementedError)):
        load_tree(b"\x92\x01" + tree)


def test_an_error_says_where() -> None:
    with pytest.raises(ValueError, match="malformed tree at byte 2: a byte that begins no value"):
        load_tree(b"\x92\xc1\x01")


def traced(act: Any) -> int:
    """The most memory that was had at once."""
    gc.collect()
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_claims_within_claims_allocate_no_more_than_there_is() -> None:
    # Each list of a hundred claims all the bytes that follow it.
    size = 1 << 20
    tree = b"".join(b"\xdd" + (size - 5 * depth - 5).to_bytes(4, "big") for depth in range(100))
    tree += b"\xc0" * (size - len(tree))
    assert len(tree) == size
    assert traced(lambda: attempt(tree)) < 10 * size


@pytest.mark.parametrize(
    "head", [b"\x91", b"\x81", b"\x81\x01", b"\xd6\x01\x91", b"\xd6\x02\x91", b"\xc7\xff\x01\x91"]
)
def test_endless_nesting_is_an_error(head: bytes) -> None:
    for times in (101, 10_000, 300_000):
        assert isinstance(attempt(head * times), ValueError | TypeError)


def test_a_fraction_of_many_digits_does_not_take_long() -> None:
    digits = (1 << 8 * 40_000).to_bytes(40_001, "big")
    number = b"\xc8" + len(digits).to_bytes(2, "big") + b"\x04" + digits
    body = b"\x92" + number + number
    with pytest.raises(ValueError, match="so many digits"):
        load_tree(b"\xc9" + len(body).to_bytes(4, "big") + b"\x09" + body)
    assert dump_tree(fractions.Fraction(1, 10**20_000)) is not None
    assert dump_tree(fractions.Fraction(1, 10**50_000)) is None


def test_any_buffer_is_read() -> None:
    for kind in (bytes, bytearray, memoryview):
        assert load_tree(kind(b"\x93\x01\x02\x03")) == [1, 2, 3]
    with pytest.raises((TypeError, BufferError)):
        load_tree("text")  # type: ignore[arg-type]


# --- what is left behind -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_neither_values_nor_errors_leak() -> None:
    def work() -> None:
        for tree in TREES:
            load_tree(tree)
            attempt(tree[:-1])
        for name, tree in MALFORMED.items():
            # `zoneinfo` remembers what it looked for.
            if name != "an unknown zone":
                attempt(tree)
        dump_tree(SAMPLE)
        dump_tree([SAMPLE, object()])
        load_tree(WHOLE)

    def settled() -> tracemalloc.Snapshot:
        gc.collect()
        # It keeps names of attributes, those too that CPython and NumPy make anew each time they ask.
        sys._clear_type_cache()
        return tracemalloc.take_snapshot()

    for _ in range(3):
        work()
    tracemalloc.start(10)
    try:
        work()
        before = settled()
        for _ in range(50):
            work()
        grown = settled().compare_to(before, "lineno")
    finally:
        tracemalloc.stop()
    # One object for each round would be fifty.
    assert [str(each) for each in grown if each.count_diff >= 50 and "tracemalloc" not in str(each)] == []


def test_references_are_counted_right() -> None:
    key, value, item = "a key of its own", ["value"], ("item",)
    held = {key: value, "list": [item, item], "tuple": (item,), "set": {item}, "deep": {"deeper": [value]}}
    before = [sys.getrefcount(it) for it in (key, value, item, held)]
    for _ in range(100):
        dump_tree(held)
        dump_tree([held, object()])
    assert [sys.getrefcount(it) for it in (key, value, item, held)] == before
    loaded = load_tree(dump_tree(held) or b"")
    # A container's and ours, and that of the call.
    assert [sys.getrefcount(each) for each in loaded.values()] == [3] * len(loaded) or sys.version_info >= (
        3,
        14,
    )
    singles = [None, True, False, ...]
    before = [sys.getrefcount(it) for it in singles]
    tree = dump_tree(singles * 100) or b""
    for _ in range(100):
        load_tree(tree)
    assert all(abs(sys.getrefcount(it) - count) < 100 for it, count in zip(singles, before, strict=True))


def test_a_long_text_is_not_kept_in_another_form() -> None:
    text = "é" * 100_000
    before = sys.getsizeof(text)
    dump_tree([text])
    assert sys.getsizeof(text) == before


def test_the_collector_knows_containers() -> None:
    loaded = load_tree(dump_tree({"list": [[1]], "tuple": ([1],), "dict": {"a": [1]}}) or b"")
    assert all(gc.is_tracked(it) for it in (loaded, *loaded.values(), loaded["list"][0]))
    # A cycle through what was loaded goes.
    loaded["list"].append(loaded)
    gc.collect()
    tracemalloc.start()
    try:
        loaded["ballast"] = bytes(1 << 20)
        del loaded
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1 << 19
    finally:
        tracemalloc.stop()


def test_keys_are_shared_and_bounded() -> None:
    tree = dump_tree([{"name of a column": 1}, {"name of a column": 2}]) or b""
    one, other = load_tree(tree)
    assert next(iter(one)) is next(iter(other))
    many = [dump_tree({f"{number:08d}": 1}) or b"" for number in range(20_000)]

    def load_all() -> None:
        for tree in many:
            load_tree(tree)

    load_all()
    # Far fewer of them are kept than went through.
    assert traced(load_all) < 200_000


def test_containers_that_change_meanwhile() -> None:
    """Paths run Python code to become text, during which other threads run."""
    held: dict[str, Any] = {"list": [], "dict": {}, "set": set()}
    path = pathlib.PurePosixPath
    done = threading.Event()

    def change() -> None:
        chance = random.Random(5)
        while not done.is_set():
            name = str(chance.randrange(50))
            held["dict"][name] = [path(name)]
            held["dict"].pop(str(chance.randrange(50)), None)
            held["list"].append([path(name)])
            held["list"][:] = held["list"][chance.randrange(3) :][:50]
            held["set"].add(path(name))
            held["set"].discard(path(str(chance.randrange(50))))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def attempted(value: Any) -> type:
        try:
            tree = dump_tree(value)
        except RuntimeError as error:
            return type(error) if "changed" in str(error) else AssertionError
        assert tree is not None
        return type(attempt(tree))

    thread = threading.Thread(target=change)
    thread.start()
    outcomes: set[type] = set()
    deadline = time.monotonic() + 60
    try:
        # Rounds in which nothing else ran show nothing.
        while not {dict, RuntimeError} <= outcomes and time.monotonic() < deadline:
            outcomes |= {attempted(held) for _ in range(1000)}
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
    # A key that went and came again while its dict was written stands in it twice.
    assert outcomes <= {dict, RuntimeError, ValueError}
    assert {dict, RuntimeError} <= outcomes


def test_a_machine_without_numpy_says_so() -> None:
    tree = dump_tree(np.arange(3)) or b""
    program = f"""
        import sys
        sys.modules["numpy"] = None
        from retainit._native import load_tree
        try:
            load_tree({tree!r})
        except ImportError as error:
            assert "numpy" in str(error)
        else:
            raise SystemExit("it was read")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
