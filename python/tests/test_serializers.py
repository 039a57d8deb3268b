"""Serializers of one's own, and those of packages that may be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped]
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from retainit import (
    ConfigurationError,
    DiskConfig,
    SerializationError,
    _serializers,
    register_serializer,
    retain,
)
from retainit._serializers import _registered


class Celsius:
    """A type that pickles, so that what a serializer of one's own did can be told from pickle."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    __hash__ = None  # type: ignore[assignment]


class CelsiusSerializer:
    """Takes part in "auto"."""

    def can_serialize(self, obj: object) -> bool:
        return isinstance(obj, Celsius)

    def serialize(self, obj: Celsius) -> bytes:
        return f"celsius {obj.degrees}".encode()

    def deserialize(self, data: bytes) -> Celsius:
        return Celsius(float(data.removeprefix(b"celsius ")))


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    before = dict(_registered)
    yield
    _registered.clear()
    _registered.update(before)


_values: list[object] = []


def produce() -> object:
    """Gives the value that is wanted, and takes note."""
    _values.append(_values[0])
    return _values[0]


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., tuple[Any, int]]:
    """What comes back from the store, and how often the function ran."""

    def kept(value: object, **options: Any) -> tuple[Any, int]:
        _values[:] = [value]
        cached = retain(produce, backend=DiskConfig(base_path=tmp_path / "cache"), **options)
        cached()
        return cached(), len(_values) - 1

    return kept


def stored(tmp_path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())


def test_a_registered_class_takes_part_in_auto(kept: Callable[..., tuple[Any, int]], tmp_path: Path) -> None:
    register_serializer("celsius")(CelsiusSerializer)
    assert kept(Celsius(21.5)) == (Celsius(21.5), 1)
    assert b"celsius 21.5" in stored(tmp_path)
    assert kept({"a": 1}, version="plain") == ({"a": 1}, 1)


def test_the_class_registered_last_is_asked_first(
    kept: Callable[..., tuple[Any, int]], tmp_path: Path
) -> None:
    class Other(CelsiusSerializer):
        def serialize(self, obj: Celsius) -> bytes:
            return f"celsius 1{obj.degrees}".encode()

    register_serializer("celsius")(CelsiusSerializer)
    register_serializer("other")(Other)
    assert kept(Celsius(21.5)) == (Celsius(121.5), 1)
    # Registered again it is the last once more.
    register_serializer("celsius")(CelsiusSerializer)
    assert kept(Celsius(21.5), version="again") == (Celsius(21.5), 1)


def test_by_name_and_as_an_object(kept: Callable[..., tuple[Any, int]], tmp_path: Path) -> None:
    register_serializer("celsius")(CelsiusSerializer)
    assert kept(Celsius(1.5), serializer="celsius", version="name") == (Celsius(1.5), 1)
    assert kept(Celsius(2.5), serializer=CelsiusSerializer(), version="object") == (Celsius(2.5), 1)
    assert b"celsius 1.5" in stored(tmp_path)
    assert b"celsius 2.5" in stored(tmp_path)


def test_a_serializer_that_fails_is_a_failure_of_the_cache(kept: Callable[..., tuple[Any, int]]) -> None:
    class Failing(CelsiusSerializer):
        def serialize(self, obj: Celsius) -> bytes:
            raise OverflowError("too hot")

    class Wrong(CelsiusSerializer):
        def serialize(self, obj: Celsius) -> bytes:
            return "text"  # type: ignore[return-value]

    for serializer, message in ((Failing(), "too hot"), (Wrong(), "expected `serialize` to give bytes")):
        assert kept(Celsius(1), serializer=serializer) == (Celsius(1), 2)
        with pytest.raises(SerializationError, match=message):
            kept(Celsius(1), serializer=serializer, strict=True)


def test_what_is_no_serializer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="`json`, which is built in"):
        register_serializer("json")
    with pytest.raises(ConfigurationError, match="without `deserialize`"):
        register_serializer("half")(type("Half", (), {"serialize": print}))
    with pytest.raises(ConfigurationError, match="expected a name"):
        register_serializer("")


def test_messages_of_protobuf(kept: Callable[..., tuple[Any, int]]) -> None:
    message = Struct()
    message.update({"a": [1, 2], "b": {"c": None}})
    again, runs = kept(message)
    assert (again, type(again), runs) == (message, Struct, 1)
    moment = Timestamp(seconds=5)
    again, runs = kept(moment, serializer="protobuf", version="named")
    assert (again, type(again), runs) == (moment, Timestamp, 1)
    with pytest.raises(SerializationError, match="expected a message"):
        kept({"a": 1}, serializer="protobuf", version="other", strict=True)


def test_orjson_keeps_what_json_has(kept: Callable[..., tuple[Any, int]], tmp_path: Path) -> None:
    value = {"name": "é", "list": [1, 2.5, None, True]}
    assert kept(value, serializer="orjson") == (value, 1)
    assert '"é"'.encode() in stored(tmp_path)


def test_the_module_of_serializers_has_the_same() -> None:
    from retainit.serializers import register_serializer as same

    assert same is register_serializer


def test_frames_are_pickled_where_their_plugin_is_not_installed(
    kept: Callable[..., tuple[Any, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pandas.DataFrame({"a": [1, 2]})
    again, runs = kept(frame, version="with")
    assert again.equals(frame)
    assert (runs, b"pickle" in stored(tmp_path)) == (1, False)

    def missing(name: str) -> tuple[str, ...]:
        raise LookupError(name)

    monkeypatch.setattr(_serializers, "_supplied", missing)
    again, runs = kept(frame, version="without")
    assert again.equals(frame)
    assert (runs, b"pickle" in stored(tmp_path)) == (1, True)
    with pytest.raises(SerializationError, match=r"hint: `pip install retainit\[arrow\]`"):
        kept(frame, serializer="parquet", version="named", strict=True)
