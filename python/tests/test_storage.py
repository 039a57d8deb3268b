"""How values are stored: serializers, compression, seals, the pickle policy."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from retainit import (
    ConfigurationError,
    DiskConfig,
    PicklePolicy,
    SerializationError,
    _native,
    load_config,
    retain,
)
from retainit._registry import get_backend, reset, resolve


@dataclass
class Point:
    """Not plain data, so pickled."""

    x: int
    y: int


class Untouchable:
    """Pickles like anything else."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Untouchable)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def disk(tmp_path: Path) -> Callable[..., DiskConfig]:
    return lambda **options: DiskConfig(base_path=tmp_path / "cache", **options)


def stored(config: DiskConfig) -> bytes:
    """All bytes of the files, the log of the database included."""
    return b"".join(file.read_bytes() for file in Path(config.base_path).rglob("*") if file.is_file())


_values: list[object] = []


def produce(number: int) -> object:
    """Gives the value that is wanted, and takes note."""
    _values.append(_values[0])
    return _values[0]


def twice(value: object, **options: Any) -> tuple[Any, Any]:
    """What a function gives from the store, and how often it ran and how often the cache failed."""
    _values[:] = [value]
    function = retain(produce, **options)
    function(1)
    again = function(1)
    return again, (len(_values) - 1, function.cache_info().errors)


HIT, MISS = (1, 0), 2


@pytest.mark.parametrize("value", [None, 1, "text", b"bytes", (1, [2, {"three": {4}}]), {1: 2.5}, 2**100])
def test_plain_data_comes_back_exactly(value: object, disk: Callable[..., DiskConfig]) -> None:
    again, counts = twice(value, backend=disk())
    assert counts == HIT
    assert (again, type(again)) == (value, type(value))
    assert b"pickle" not in stored(disk())


@pytest.mark.parametrize(
    ("serializer", "value", "wrong"),
    [
        ("msgpack", {"a": (1, 2)}, Point(1, 2)),
        ("json", {"a": [1, 2.5, None, "é"]}, (1, 2)),
        ("orjson", {"a": [1, 2.5, None, "é"]}, object()),
        ("text", "é", b"e"),
        ("bytes", b"\x00\xff", "e"),
        ("pickle", Point(1, 2), lambda: None),
    ],
)
def test_a_serializer_by_name(
    serializer: str, value: object, wrong: object, disk: Callable[..., DiskConfig]
) -> None:
    assert twice(value, backend=disk(), serializer=serializer) == (value, HIT)
    _, (calls, errors) = twice(wrong, backend=disk(namespace="wrong"), serializer=serializer)
    assert calls == MISS
    assert errors > 0
    with pytest.raises(SerializationError):
        twice(wrong, backend=disk(namespace="wrong"), serializer=serializer, strict=True)


def test_the_backends_own_options_hold_where_the_function_says_nothing(
    disk: Callable[..., DiskConfig],
) -> None:
    twice({"a": 1}, backend=disk(serializer="json"))
    assert b'{"a":1}' in stored(disk())
    twice({"b": 1}, backend=disk(serializer="json"), serializer="msgpack")
    assert b'{"b":1}' not in stored(disk())


def test_compressed_values_are_smaller_and_come_back(disk: Callable[..., DiskConfig]) -> None:
    value = ["a line of text"] * 1000
    sizes = {}
    for compression in (False, "none", True, "lz4", "zstd:19"):
        config = disk(namespace=str(compression))
        (tier,) = resolve(config)
        before = tier.backend.statistics()["bytes"]
        assert twice(value, backend=config, compression=compression) == (value, HIT)
        sizes[compression] = tier.backend.statistics()["bytes"] - before  # type: ignore[operator]
    assert sizes[False] > 15_000
    assert abs(sizes["none"] - sizes[False]) < 10
    assert all(sizes[each] < 1000 for each in (True, "lz4", "zstd:19"))
    assert len({sizes[True], sizes["lz4"], sizes["zstd:19"]}) == 3


def test_small_and_random_values_stay_as_they_are(disk: Callable[..., DiskConfig]) -> None:
    cases: list[tuple[str | bytes, dict[str, Any]]] = [
        ("a" * 1000, {"compression": True}),
        ("b" * 10_000, {"compression": True, "compression_threshold": "10KiB"}),
        (secrets.token_bytes(5000), {"compression": True}),
        # What can be read in place is to be read in place.
        ("c" * 10_000, {"compression": "auto"}),
    ]
    for number, (value, options) in enumerate(cases):
        # In a file of its own, so in one piece.
        config = disk(namespace=str(number), inline_limit=500)
        assert twice(value, backend=config, **options) == (value, HIT)
        assert (value.encode() if isinstance(value, str) else value) in stored(config)
    config = disk(namespace="all", inline_limit=100)
    assert twice("d" * 500, backend=config, compression=True, compression_threshold=0) == ("d" * 500, HIT)
    assert b"d" * 500 not in stored(config)


def test_encrypted_values_cannot_be_read_without_the_key(disk: Callable[..., DiskConfig]) -> None:
    old, new, other = (secrets.token_bytes(32) for _ in range(3))
    calls = []

    def kept(number: int) -> str:
        calls.append(number)
        return "the secret text"

    def call(**options: Any) -> int:
        """How often the function ran."""
        calls.clear()
        assert retain(kept, backend=disk(), **options)(1) == "the secret text"
        return len(calls)

    assert call(encryption_key=old) == 1
    assert b"the secret text" not in stored(disk())
    assert call(encryption_key=f"hex:{old.hex()}") == 0
    assert call(encryption_key=lambda: old) == 0
    assert call(encryption_key=[new, old]) == 0
    # Each finds what another key, or none, has sealed, and puts its own in its place.
    for options in ({"encryption_key": other}, {"encryption_key": old}, {}):
        assert call(**options) == 1
        assert call(**options) == 0
    # Plaintext is no entry where encryption is required.
    assert call() == 0
    assert call(encryption_key=old) == 1


def test_signed_values_are_refused_when_another_key_signed_them(disk: Callable[..., DiskConfig]) -> None:
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    options: dict[str, Any] = {"backend": disk(), "integrity": "signed"}
    assert twice("visible", **options, encryption_key=first) == ("visible", HIT)
    assert b"visible" in stored(disk())
    again, (calls, _) = twice("visible", **options, encryption_key=second)
    assert (again, calls) == ("visible", 1)


def test_the_key_may_be_in_the_environment(
    disk: Callable[..., DiskConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAINIT_ENCRYPTION_KEY", f"hex:{'ab' * 32}")
    assert twice("hidden", backend=disk(), encryption=True) == ("hidden", HIT)
    assert b"hidden" not in stored(disk())
    monkeypatch.delenv("RETAINIT_ENCRYPTION_KEY")
    with pytest.raises(
        ConfigurationError, match=r"environment variable `RETAINIT_ENCRYPTION_KEY`, found none"
    ):
        twice("hidden", backend=disk(), encryption=True)


def test_no_message_shows_a_key() -> None:
    for wrong in ("swordfish", b"swordfish", ["swordfish"], 7, lambda: "swordfish"):
        with pytest.raises(ConfigurationError) as caught:
            twice(1, backend="disk", encryption_key=wrong)
        assert "swordfish" not in str(caught.value)
        assert "option `encryption_key`" in str(caught.value)
    config = DiskConfig(encryption_key=f"hex:{'ab' * 32}")
    assert "abab" not in repr(config)
    cached = retain(twice, encryption_key=f"hex:{'ab' * 32}", encryption=True)
    assert "abab" not in str(cached.cache_parameters())


def test_what_pickle_may_do(disk: Callable[..., DiskConfig]) -> None:
    value = Point(1, 2)
    assert twice(value, backend=disk()) == (value, HIT)
    for policy in ("never", "signed"):
        config = disk(namespace=policy, pickle=policy)
        _, (calls, errors) = twice(value, backend=config)
        assert (calls, errors > 0) == (MISS, True)
        with pytest.raises(SerializationError, match="hint"):
            twice(value, backend=config, strict=True)
    key = secrets.token_bytes(32)
    signed = disk(namespace="key", pickle="signed", encryption_key=key, integrity="signed")
    assert twice(value, backend=signed) == (value, HIT)
    assert twice(value, backend=disk(namespace="always", pickle="always")) == (value, HIT)


def test_a_pickle_of_before_is_not_read_where_it_is_refused_now(disk: Callable[..., DiskConfig]) -> None:
    calls = []

    def kept(number: int) -> Point:
        calls.append(number)
        return Point(1, 2)

    retain(kept, backend=disk())(1)
    retain(kept, backend=disk(), pickle="never")(1)
    assert len(calls) == 2


def test_the_classes_that_pickles_may_refer_to(disk: Callable[..., DiskConfig]) -> None:
    allowed = PicklePolicy(allow=[Point])
    assert twice(Point(1, 2), backend=disk(), pickle=allowed) == (Point(1, 2), HIT)
    with pytest.raises(
        SerializationError, match=r"refers to `.*Untouchable`, which the pickle policy does not list"
    ):
        twice(Untouchable(), backend=disk(namespace="other"), pickle=allowed, strict=True)
    with pytest.raises(SerializationError, match=r"of \d+ bytes: expected at most 10"):
        twice(Point(1, 2), backend=disk(namespace="small"), pickle=PicklePolicy(max_bytes=10), strict=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"serializer": "jsn"}, r"option `serializer` of `retain`: expected one of .*did you mean `json`"),
        ({"serializer": object()}, r"without `serialize`"),
        ({"compression": "zstd:99"}, r"option `compression` of `retain`: expected a level from 1 to 22"),
        ({"compression": "lz4+dictionary"}, r"option `compression` of `retain`: expected no dictionary"),
        (
            {"compression": "zstd+dict"},
            r"option `compression` of `retain`: expected `zstd\+dictionary` or `zstd`",
        ),
        ({"compression": 7}, r"option `compression` of `retain`: expected `True`"),
        ({"compression_threshold": "1XB"}, r"option `compression_threshold` of `retain`"),
        ({"encryption": "yes"}, r"option `encryption` of `retain`: expected `True` or `False`"),
        ({"integrity": "none"}, r"option `integrity` of `retain`"),
        ({"integrity": 0}, r"option `integrity` of `retain`: expected `True`, `False`"),
        ({"encryption": False, "encryption_key": b"k" * 32}, r"where nothing would use it"),
        ({"pickle": "sometimes"}, r"option `pickle` of `retain`: expected one of .* or a `PicklePolicy`"),
    ],
)
def test_a_wrong_option_is_refused_at_decoration(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        retain(**options)


def test_the_options_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "retainit.yaml"
    file.write_text(
        f"retainit:\n  backends:\n    far:\n      type: disk\n      base_path: {tmp_path}\n"
        "      serializer: json\n"
        "      compression: zstd:3\n      pickle: {mode: local, max_bytes: 1MiB}\n"
    )
    load_config(file)
    (tier,) = get_backend("far").tiers
    assert tier.storage.serializer == "json"
    assert tier.storage.pickle == PicklePolicy(max_bytes="1MiB")
    file.write_text(file.read_text().replace("zstd:3", "zstd:99"))
    with pytest.raises(
        ConfigurationError, match=r"option `compression` of backend `far` \(.*retainit.yaml:7\): exp"
    ):
        load_config(file)
    file.write_text(file.read_text().replace("zstd:99", "zstd:3").replace("mode: local", "mode: locally"))
    with pytest.raises(
        ConfigurationError, match=r"option `pickle` of backend `far` \(.*retainit.yaml:8\): opt"
    ):
        load_config(file)


def test_pickle_is_refused_both_ways_where_others_can_write(disk: Callable[..., DiskConfig]) -> None:
    """With a tier that says so of itself, as one in another process or on another host does."""
    key = secrets.token_bytes(32)
    cases: list[tuple[str, str, bytes | None, bool]] = [
        ("local", "checksum", None, False),
        ("local", "signed", key, True),
        ("signed", "encrypted", key, True),
        ("always", "checksum", None, True),
        ("never", "signed", key, False),
    ]
    for mode, seal, secret, allowed in cases:
        keyring = _native.Keyring([secret]) if secret else None
        (tier,) = resolve(disk())
        _values[:] = [Point(1, 2)]
        function: Any = retain(produce, backend=disk())
        # From here on it has the tiers that it is given.
        function.cache_get(1)
        private, shared = (
            _native.Format("auto", None, seal, keyring, (mode, None, None), private)
            for private in (True, False)
        )
        _native.set_tiers(function, [(tier.backend, shared, None, mode + seal)], "")
        function(1)
        function(1)
        assert (len(_values) == 2) == allowed, (mode, seal)
        if not allowed and mode != "never":
            # What was pickled while the place was private is not loaded from it any more.
            _native.set_tiers(function, [(tier.backend, private, None, mode + seal)], "")
            function(1)
            before = len(_values)
            function(1)
            assert len(_values) == before
            _native.set_tiers(function, [(tier.backend, shared, None, mode + seal)], "")
            function(1)
            assert len(_values) == before + 1
        # Plain data needs no pickle.
        function.cache_set({"a": 1}, 2)
        assert function.cache_get(2) == {"a": 1}


def answer(number: int) -> dict[str, object]:
    """Alike, and small."""
    _values.append(number)
    user = {
        "name": f"user {number}",
        "mail": f"{number}@example.com",
        "roles": ["reader", "writer"],
        "active": True,
    }
    return {"status": "ok", "result": {"user": user, "history": [number * 7 % 1000, number * 13 % 1000]}}


def test_a_dictionary_is_trained_from_the_values_and_found_again(disk: Callable[..., DiskConfig]) -> None:
    options: dict[str, Any] = {"compression": "zstd+dictionary", "compression_threshold": 64}
    sizes = []
    for namespace, compression in (("alone", "zstd"), ("trained", "zstd+dictionary")):
        config = disk(namespace=namespace)
        cached = retain(answer, backend=config, **{**options, "compression": compression})
        statistics = resolve(config)[0].backend.statistics
        for number in range(800):
            cached(number)
        before = statistics()["bytes"]
        for number in range(800, 900):
            cached(number)
        sizes.append(statistics()["bytes"] - before)  # type: ignore[operator]
    # With the header, which is as long as such a value.
    assert sizes[1] < 0.8 * sizes[0]

    reset()
    _values.clear()
    again: Any = retain(answer, backend=disk(namespace="trained"), **options)
    assert [again(number)["result"]["history"][0] for number in range(900)] == [
        n * 7 % 1000 for n in range(900)
    ]
    assert (again.cache_info().errors, _values) == (0, [])
    # The next process goes on with the same dictionary.
    again(5000)
    assert stored(disk()).count(b"zstd#") > 100
    assert len({*re.findall(rb"zstd#[0-9a-f]{16}", stored(disk()))}) == 1
    # Without the option it is still read.
    plain = retain(answer, backend=disk(namespace="trained"))
    assert plain(850)["status"] == "ok"
    assert plain.cache_info().misses == 0

    # One that is lost costs the entries that need it, and no more.
    (database,) = Path(disk().base_path).rglob("*.sqlite")
    reset()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("delete from entry where instr(key, 'dictionary#')").rowcount == 1
        connection.commit()
    lost = retain(answer, backend=disk(namespace="trained"), **options)
    assert lost(850)["status"] == "ok"
    assert (lost.cache_info().errors, lost.cache_info().misses) == (1, 1)


def test_a_directory_that_its_group_may_write_to_is_not_private(disk: Callable[..., DiskConfig]) -> None:
    _values[:] = [Point(1, 2)]
    config = disk(dir_mode=0o770, file_mode=0o660)
    with pytest.raises(SerializationError, match="others can write to this backend"):
        retain(produce, backend=config, strict=True)(1)
    assert retain(produce, backend=config, pickle="always", strict=True)(1) == Point(1, 2)


def test_frames_are_mapped_where_they_are_read_in_place_and_small_where_they_travel(
    disk: Callable[..., DiskConfig],
) -> None:
    polars: Any = import_module("polars")
    frame = polars.DataFrame({"number": range(20_000), "text": ["the same text"] * 20_000})
    sizes = []
    for private in (True, False):
        config = disk(namespace=str(private))
        function: Any = retain(produce, backend=config)
        function.cache_get(1)
        (tier,) = resolve(config)
        described = _native.Format("auto", None, "checksum", None, ("never", None, None), private)
        assert described.mapped == private
        _native.set_tiers(function, [(tier.backend, described, None, str(private))], "")
        before = tier.backend.statistics()["bytes"]
        function.cache_set(frame, 1)
        assert function.cache_get(1).equals(frame)
        sizes.append(tier.backend.statistics()["bytes"] - before)  # type: ignore[operator]
    assert sizes[1] < sizes[0] / 3
    # Arrow's own format has its metadata in front, Parquet its mark.
    assert b"PAR1" in stored(disk())
