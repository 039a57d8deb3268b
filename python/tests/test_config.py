"""What a backend can be said to be, and which mistakes are refused at once."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from retainit import _native
from retainit._config import BackendConfig, DiskConfig, MemoryConfig, PluginConfig, TieredConfig
from retainit._options import UNSET, seconds
from retainit.errors import (
    BackendError,
    ConfigurationError,
    PluginError,
    RetainitError,
    SerializationError,
    UnkeyableError,
)

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (60, 60.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("2h30m", 9000.0),
        ("7d", 604800.0),
        ("500ms", 0.5),
        ("60", 60.0),
        (timedelta(days=1, microseconds=250_000), 86400.25),
    ],
)
def test_durations(value: float | str | timedelta, expected: float) -> None:
    assert _native.parse_duration(value) == expected
    assert seconds(MemoryConfig(ttl=value).ttl) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, 0.0, math.nan, math.inf, -math.inf, 1e300, 10**400, True, False),
        *("", "0s", "-5s", "soon", "nan"),
        *(timedelta(0), timedelta(days=-1), timedelta.max, [], b"5s", {}, object()),
    ],
)
def test_what_is_no_duration_is_refused_with_what_was_expected(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a duration above zero.*found `"):
        _native.parse_duration(value)
    with pytest.raises(ConfigurationError, match=r"^option `ttl` of `MemoryConfig`: expected a duration"):
        MemoryConfig(ttl=value)  # type: ignore[arg-type]


def test_no_ttl_is_not_the_same_as_for_ever() -> None:
    assert seconds(MemoryConfig().ttl) is UNSET
    assert seconds(MemoryConfig(ttl=None).ttl) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1), ("512MiB", 512 * 2**20), ("10MB", 10_000_000), ("1.5GiB", 3 * 2**29), ("7", 7)],
)
def test_sizes(value: int | str, expected: int) -> None:
    assert _native.parse_size(value) == expected
    assert MemoryConfig(max_bytes=value).options()["max_bytes"] == expected


@pytest.mark.parametrize("value", [0, -1, 2**63, 1.5, True, "", "0MB", "-1", "big", "MiB", [], None])
def test_what_is_no_size_is_refused_with_what_was_expected(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a size above zero.*found `"):
        _native.parse_size(value)


def test_a_wrong_size_names_its_option() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^option `inline_limit` of `DiskConfig`: .*did you mean `MiB`"
    ):
        DiskConfig(inline_limit="5MiBs")


@pytest.mark.parametrize(
    ("config", "plugin"), [(MemoryConfig(), "memory"), (DiskConfig(), "disk")], ids=["memory", "disk"]
)
def test_the_classes_have_the_options_and_defaults_of_their_plugins(
    config: BackendConfig, plugin: str
) -> None:
    schema = json.loads((PLUGINS / plugin / "src" / "options.schema.json").read_text())
    assert config.options() == {name: each["default"] for name, each in schema["properties"].items()}
    shared = {each.name for each in fields(BackendConfig)}
    assert {each.name for each in fields(config)} == {*schema["properties"], *shared}


def test_the_schema_accepts_what_the_classes_say() -> None:
    config = DiskConfig(base_path=Path("a") / "b", max_bytes="1GiB", inline_limit="64KiB", busy_timeout="2s")
    prepared = json.loads(_native.prepare_options("d", "disk", json.dumps(config.options()), None, 0, {}))
    assert prepared["base_path"] == str(Path("a") / "b")
    assert (prepared["max_bytes"], prepared["inline_limit"], prepared["busy_timeout"]) == (2**30, 2**16, 2.0)


def test_configurations_are_values() -> None:
    assert MemoryConfig(max_size=5) == MemoryConfig(max_size=5) != MemoryConfig(max_size=6)
    assert PluginConfig("acme", b=1, a=[2]) == PluginConfig("acme", a=[2], b=1)
    assert PluginConfig("acme", a=1) != PluginConfig("acme", a=2)
    assert len({MemoryConfig(), MemoryConfig(), PluginConfig("acme", a={}), PluginConfig("acme", a={})}) == 2
    with pytest.raises(AttributeError):
        MemoryConfig().max_size = 5  # type: ignore[misc]


def test_all_options_are_keywords() -> None:
    with pytest.raises(TypeError):
        MemoryConfig(5)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        MemoryConfig(max_sise=5)  # type: ignore[call-arg]


def test_plugin_options_may_have_any_name_and_are_kept_from_messages() -> None:
    config = PluginConfig("acme", self=1, options=2, path=Path("x"), password="hunter2", ttl="1h")
    assert config.options() == {"self": 1, "options": 2, "path": "x", "password": "hunter2"}
    assert "hunter2" not in repr(config)
    assert repr(config).startswith("PluginConfig('acme', options=")


def test_plugin_options_do_not_change_afterwards() -> None:
    nodes = ["a"]
    config = PluginConfig("acme", nodes=nodes)
    nodes.append("b")
    config.options()["nodes"] = []
    assert config.options() == {"nodes": ["a"]}


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, math.nan, {"deep": [math.inf]}])
def test_plugin_options_that_json_cannot_say_are_refused(value: object) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^option `a` for backend type `acme`: expected text, a number"
    ):
        PluginConfig("acme", a=value)


@pytest.mark.parametrize("name", ["", 5, None])
def test_names_are_text(name: object) -> None:
    with pytest.raises(ConfigurationError, match="option `type` of `PluginConfig`: expected a name"):
        PluginConfig(name)  # type: ignore[arg-type]
    if name is not None:
        with pytest.raises(ConfigurationError, match="option `namespace` of `MemoryConfig`: expected a name"):
            MemoryConfig(namespace=name)  # type: ignore[arg-type]


def test_tiers_are_checked_and_copied() -> None:
    tiers: list[str | BackendConfig] = ["memory", DiskConfig()]
    config = TieredConfig(tiers=tiers)
    tiers.clear()
    assert config.tiers == ("memory", DiskConfig())
    for wrong in ([], "memory", 5, [5], None):
        with pytest.raises(ConfigurationError, match="option `tiers` of `TieredConfig`: expected"):
            TieredConfig(tiers=wrong)  # type: ignore[arg-type]


def test_the_base_class_is_no_backend() -> None:
    with pytest.raises(ConfigurationError, match="expected one of `MemoryConfig`"):
        BackendConfig(ttl=5)


def test_exceptions_are_one_family_and_keep_the_standard_ones() -> None:
    for each in (BackendError, ConfigurationError, PluginError, SerializationError, UnkeyableError):
        assert issubclass(each, RetainitError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(UnkeyableError, TypeError)
