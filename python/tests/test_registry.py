"""Names, layers, the default, and files found and named."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from retainit import _native, _registry
from retainit._config import DiskConfig, MemoryConfig, PluginConfig, TieredConfig
from retainit._options import UNSET
from retainit._registry import (
    default_backend,
    get_backend,
    init,
    load_config,
    register_backend,
    resolve,
    shutdown,
    unregister_backend,
)
from retainit._storage import Storage
from retainit.errors import BackendError, ConfigurationError, PluginError, RetainitError


def names(spec: _registry.Spec = None) -> list[str]:
    return [tier.backend.name for tier in resolve(spec)]


def message(action: Callable[[], object], kind: type[RetainitError] = ConfigurationError) -> str:
    with pytest.raises(RetainitError) as caught:
        action()
    assert type(caught.value) is kind
    return str(caught.value)


class TestNames:
    def test_with_nothing_configured_there_is_a_memory_backend(self) -> None:
        (tier,) = resolve()
        assert (tier.backend.name, tier.backend.type, tier.ttl, tier.namespace) == (
            "default",
            "memory",
            UNSET,
            None,
        )
        assert default_backend().tiers == (tier,) == get_backend("default").tiers

    def test_a_type_that_nobody_registered_has_its_defaults(self) -> None:
        (tier,) = resolve("memory")
        assert (tier.backend.name, tier.backend.type) == ("memory", "memory")
        assert resolve("memory")[0].backend is tier.backend
        assert resolve()[0].backend is not tier.backend

    def test_a_name_means_one_backend(self) -> None:
        register_backend("a", MemoryConfig(max_size=5, ttl="1m", namespace="n"))
        (tier,) = resolve("a")
        assert (tier.backend.name, tier.ttl, tier.namespace) == ("a", 60.0, "n")
        assert resolve(["a"])[0].backend is tier.backend

    def test_a_disk_backend_opens_where_it_is_told(self, tmp_path: Path) -> None:
        (tier,) = resolve(DiskConfig(base_path=tmp_path / "cache"))
        tier.backend.clear(b"")
        assert (tmp_path / "cache").is_dir()

    def test_an_unknown_name_says_what_there_is(self) -> None:
        register_backend("large", MemoryConfig())
        text = message(lambda: resolve("lareg"))
        assert text.startswith(
            "unknown backend `lareg`: expected a registered backend (`large`) or a backend type ("
        )
        assert "`memory`" in text
        assert text.endswith("; hint: did you mean `large`?")
        assert "did you mean `memory`?" in message(lambda: get_backend("memroy"))

    def test_the_first_default_wins_over_the_name(self) -> None:
        register_backend("default", MemoryConfig(max_size=1))
        assert names() == ["default"]
        register_backend("a", MemoryConfig(max_size=2), default=True)
        register_backend("b", MemoryConfig(max_size=3), default=True)
        assert names() == ["a"]
        unregister_backend("a")
        assert names() == ["default"]

    def test_registering_the_same_again_keeps_what_is_cached(self) -> None:
        register_backend("a", MemoryConfig(max_size=5))
        first = resolve("a")[0].backend
        register_backend("a", MemoryConfig(max_size=5))
        assert resolve("a")[0].backend is first
        register_backend("a", MemoryConfig(max_size=6))
        assert resolve("a")[0].backend is not first

    def test_unregistering_takes_the_name_back(self) -> None:
        register_backend("a", MemoryConfig())
        unregister_backend("a")
        assert "unknown backend `a`" in message(lambda: resolve("a"))
        register_backend("abc", MemoryConfig())
        assert "did you mean `abc`?" in message(lambda: unregister_backend("abd"))

    def test_each_change_is_a_new_generation(self) -> None:
        seen = [_registry.generation]
        changes: list[Callable[[], None]] = [
            lambda: register_backend("a", MemoryConfig()),
            lambda: unregister_backend("a"),
            lambda: init(ttl=5),
            _registry.reset,
        ]
        for change in changes:
            change()
            seen.append(_registry.generation)
        assert seen == sorted(set(seen))
        resolve()
        assert _registry.generation == seen[-1]

    def test_options_are_checked_against_the_plugins_schema(self) -> None:
        text = message(lambda: resolve(PluginConfig("memory", max_sise=5)))
        assert text.startswith("unknown option `max_sise` for backend `memory`: expected one of ")
        assert text.endswith("; hint: did you mean `max_size`?")
        assert "expected an integer" in message(lambda: resolve(MemoryConfig(max_size="many")))  # type: ignore[arg-type]
        assert "did you mean `lru`?" in message(lambda: resolve(MemoryConfig(policy="lur")))  # type: ignore[arg-type]

    def test_arguments_of_other_types_are_refused(self) -> None:
        assert "expected a name" in message(lambda: register_backend("", MemoryConfig()))
        assert "expected a configuration" in message(lambda: register_backend("a", 5))  # type: ignore[arg-type]
        assert "option `backend`: expected" in message(lambda: resolve(5))  # type: ignore[arg-type]
        assert "option `backend`: expected" in message(lambda: resolve([]))


class TestTiers:
    def test_tiers_are_flattened_nearest_first(self) -> None:
        register_backend("a", MemoryConfig(max_size=1))
        register_backend("b", MemoryConfig(max_size=2))
        register_backend("inner", TieredConfig(tiers=["b", MemoryConfig(max_size=3)]))
        register_backend("outer", TieredConfig(tiers=["a", "inner"]))
        assert names("outer") == ["a", "b", "memory"]
        assert names(["a", "inner"]) == ["a", "b", "memory"]
        assert get_backend("outer").type == "tiered"
        assert list(get_backend("outer").statistics()) == ["a", "b", "memory"]

    def test_what_a_tier_does_not_say_its_group_says(self) -> None:
        register_backend("own", MemoryConfig(ttl=5, namespace="own"))
        register_backend("for_ever", MemoryConfig(ttl=None))
        register_backend("plain", MemoryConfig())
        group = TieredConfig(tiers=["own", "for_ever", "plain"], ttl="1m", namespace="group")
        assert [(tier.ttl, tier.namespace) for tier in resolve(group)] == [
            (5.0, "own"),
            (None, "group"),
            (60.0, "group"),
        ]
        assert resolve("plain")[0].ttl is UNSET

    def test_a_circle_is_refused(self) -> None:
        register_backend("a", TieredConfig(tiers=["b"]))
        register_backend("b", TieredConfig(tiers=["memory", "a"]))
        assert message(lambda: resolve("a")) == "tiers: expected no circle, found `a` → `b` → `a`"

    def test_one_backend_twice_is_refused(self) -> None:
        assert (
            message(lambda: resolve(["memory", "memory"]))
            == "tiers: expected each backend once, found `memory` twice"
        )


class TestLifetimes:
    def test_a_configuration_object_is_a_backend_of_its_own(self) -> None:
        one, other = MemoryConfig(max_size=7), MemoryConfig(max_size=7)
        assert resolve(one)[0].backend is resolve(one)[0].backend
        assert resolve(one)[0].backend is not resolve(other)[0].backend

    def test_what_only_a_configuration_object_reaches_goes_with_it(self) -> None:
        config = MemoryConfig(max_size=8)
        backend = weakref.ref(resolve(config)[0].backend)
        assert backend() is not None
        del config
        gc.collect()
        assert backend() is None

    def test_after_shutdown_the_next_use_opens_again(self) -> None:
        register_backend("a", MemoryConfig())
        generation = _registry.generation
        before = resolve("a")[0].backend
        shutdown()
        assert _registry.generation > generation
        assert resolve("a")[0].backend is not before
        shutdown()
        shutdown()

    def test_a_failing_close_keeps_no_other_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[str] = []

        class Failing(NamedTuple):
            name: str

            def close(self) -> None:
                closed.append(self.name)
                raise BackendError(f"cannot close `{self.name}`")

        for name in ("a", "b"):
            tier = _registry.Tier(Failing(name), None, None, Storage())  # type: ignore[arg-type]
            monkeypatch.setitem(_registry._registry.opened, name, tier)
        with pytest.raises(BackendError, match="cannot close `a`"):
            shutdown()
        assert closed == ["a", "b"]

    def test_threads_that_ask_at_once_get_one_backend(self) -> None:
        barrier = threading.Barrier(8)
        found: list[_native.Backend] = []

        def ask() -> None:
            barrier.wait()
            found.append(resolve("memory")[0].backend)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert all(each is found[0] for each in found)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_child_is_not_stuck_on_a_lock_of_its_parents_threads(self) -> None:
        done = threading.Event()

        def hold() -> None:
            while not done.is_set():
                with _registry._registry.lock:
                    done.wait(0.001)

        holders = [threading.Thread(target=hold) for _ in range(2)]
        for holder in holders:
            holder.start()
        try:
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    signal.alarm(20)
                    register_backend("child", MemoryConfig())
                    os._exit(7 if resolve("child") else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        finally:
            done.set()
            for holder in holders:
                holder.join()


class TestInit:
    def test_a_prefix_names_the_backends_option(self, tmp_path: Path) -> None:
        init(backend="disk", disk_base_path=tmp_path / "here", disk_ttl="1h", ttl="5m", namespace="app")
        (tier,) = resolve()
        assert (tier.backend.name, tier.backend.type, tier.ttl) == ("disk", "disk", 3600.0)
        assert _registry.defaults() == (300.0, "app")
        tier.backend.clear(b"")
        assert (tmp_path / "here").is_dir()

    def test_tiers_and_their_options(self) -> None:
        init(backend="tiered", backends=["memory", MemoryConfig(max_size=9)], memory_max_size=5)
        assert names() == ["memory", "memory"]
        assert default_backend().name == "default"

    def test_a_pair(self, tmp_path: Path) -> None:
        init(backend="hybrid", primary="memory", secondary="disk", disk_base_path=tmp_path)
        assert names() == ["memory", "disk"]

    def test_a_registered_name_or_a_configuration_may_be_the_default(self) -> None:
        register_backend("a", MemoryConfig(max_size=2))
        init(backend="a")
        assert names() == ["a"]
        init(backend=MemoryConfig(max_size=3, ttl=9))
        assert resolve()[0].ttl == 9.0

    def test_what_it_said_before_is_forgotten(self) -> None:
        init(backend="memory", memory_ttl=5, ttl=6)
        assert resolve()[0].ttl == 5.0
        init()
        assert resolve()[0].ttl is UNSET
        assert resolve("memory")[0].ttl is UNSET
        assert _registry.defaults() == (UNSET, None)

    def test_for_ever_is_a_ttl(self) -> None:
        init(ttl=None)
        assert _registry.defaults().ttl is None

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"backnd": "memory"}, "unknown option `backnd` of `init`: .*did you mean `backend`?"),
            (
                {"backend": "memory", "memory_max_sise": 1},
                "unknown option `memory_max_sise`.*`memory_max_size`?",
            ),
            (
                {"disk_base_path": "x"},
                'expected `disk` among the backends, found none; hint: `backend="disk"`',
            ),
            ({"backend": "memory", "primary": "memory", "secondary": "disk"}, 'expected `backend="hybrid"`'),
            (
                {"backend": "memory", "backends": ["disk"]},
                'option `backends` of `init`: expected `backend="tiered"`',
            ),
            ({"primary": "memory"}, "option `secondary` of `init`: expected"),
            ({"backend": "tiered", "backends": []}, "option `backends` of `init`: expected a list"),
            ({"backend": 5}, "option `backend` of `init`: expected"),
            ({"ttl": 0}, "option `ttl` of `init`: expected a duration"),
            ({"namespace": ""}, "option `namespace` of `init`: expected a name"),
            ({"backend": "memory", "memory_ttl": -1}, "option `ttl` of `MemoryConfig`: expected a duration"),
            ({"circuit_braker": True}, "unknown option `circuit_braker` of `init`"),
        ],
    )
    def test_mistakes(self, arguments: dict[str, object], expected: str) -> None:
        generation = _registry.generation
        with pytest.raises(ConfigurationError, match=expected):
            init(**arguments)  # type: ignore[arg-type]
        assert _registry.generation == generation

    def test_options_for_a_registered_name_are_refused_rather_than_ignored(self) -> None:
        register_backend("memory", MemoryConfig())
        assert "give the options where it is registered" in message(
            lambda: init(backend="memory", memory_max_size=1)
        )


FILE = """\
retainit:
  backends:
    fast:
      type: memory
      max_size: ${SIZE:-100}
      ttl: 1h
    slow: {type: memory, max_bytes: 1MiB, namespace: app}
    both: {type: tiered, tiers: [fast, slow]}
  default_backend: both
"""


class TestFiles:
    def test_a_file_in_the_project_is_read_at_first_use(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "retainit.yaml").write_text(FILE)
        below = tmp_path / "src" / "package"
        below.mkdir(parents=True)
        monkeypatch.chdir(below)
        assert names() == ["fast", "slow"]
        assert [(tier.ttl, tier.namespace) for tier in resolve("both")] == [(3600.0, None), (UNSET, "app")]

    def test_the_environment_names_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "retainit.yaml").write_text("retainit: {default_backend: wrong}\n")
        other = tmp_path / "other.json"
        other.write_text(
            json.dumps({"retainit": {"backends": {"x": {"type": "memory"}}, "default_backend": "x"}})
        )
        monkeypatch.setenv("RETAINIT_CONFIG", str(other))
        assert names() == ["x"]
        monkeypatch.setenv("RETAINIT_CONFIG", str(tmp_path / "missing.yaml"))
        _registry.reset()
        assert "missing.yaml`: expected a file that can be read" in message(resolve)

    def test_what_is_registered_comes_before_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "retainit.yaml").write_text(FILE)
        register_backend("fast", MemoryConfig(ttl=5))
        assert resolve("fast")[0].ttl == 5.0
        unregister_backend("fast")
        assert resolve("fast")[0].ttl == 3600.0
        assert names() == ["fast", "slow"]
        register_backend("mine", MemoryConfig(), default=True)
        assert names() == ["mine"]
        init(backend="slow")
        assert names() == ["slow"]

    def test_a_named_file_takes_the_place_of_a_found_one(self, tmp_path: Path) -> None:
        (tmp_path / "retainit.yaml").write_text(FILE)
        named = tmp_path / "named.toml"
        named.write_text('[retainit.backends.default]\ntype = "memory"\nttl = "2m"\n')
        load_config(named)
        assert (names(), resolve()[0].ttl) == (["default"], 120.0)
        assert "unknown backend `fast`" in message(lambda: resolve("fast"))

    def test_reading_the_same_file_again_keeps_what_is_cached(self, tmp_path: Path) -> None:
        path = tmp_path / "named.yaml"
        path.write_text(FILE)
        load_config(path)
        fast, slow = (tier.backend for tier in resolve())
        path.write_text(FILE.replace("1MiB", "2MiB"))
        load_config(path)
        again = [tier.backend for tier in resolve()]
        assert again[0] is fast
        assert again[1] is not slow

    def test_an_options_mistake_has_its_file_and_line(self, tmp_path: Path) -> None:
        (tmp_path / "retainit.yaml").write_text(FILE.replace("max_size:", "max_sise:"))
        text = message(resolve)
        assert text.startswith(
            "unknown option `max_sise` for backend `fast` (retainit.yaml:5): expected one of "
        )
        assert text.endswith("; hint: did you mean `max_size`?")

    def test_what_the_environment_holds_is_converted_and_never_shown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "retainit.yaml").write_text(FILE)
        monkeypatch.setenv("SIZE", "hunter2")
        text = message(resolve)
        assert "hunter2" not in text
        assert text.endswith(
            "(retainit.yaml:5): expected an integer or `null`, found the text `${SIZE:-100}`"
        )
        monkeypatch.setenv("SIZE", "7")
        _registry.reset()
        assert names() == ["fast", "slow"]

    def test_unknown_names_have_their_file_and_line(self, tmp_path: Path) -> None:
        path = tmp_path / "retainit.yaml"
        path.write_text(FILE.replace("[fast, slow]", "[fast, slwo]"))
        text = message(resolve)
        assert text.startswith(
            "unknown backend `slwo` (retainit.yaml:8): expected a registered backend (`fast`, "
        )
        assert "did you mean `slow`?" in text
        path.write_text(FILE.replace("default_backend: both", "default_backend: bth"))
        _registry.reset()
        assert message(resolve).startswith("unknown backend `bth` (retainit.yaml:9): ")

    def test_later_keys_are_refused_rather_than_ignored(self, tmp_path: Path) -> None:
        for key in ("profiles", "regions", "events", "logging"):
            (tmp_path / "retainit.yaml").write_text(f"retainit:\n  {key}: {{}}\n")
            assert message(resolve).startswith(
                f"unknown key `{key}` in section `retainit` (retainit.yaml:2): expected"
            )

    def test_a_mended_file_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "retainit.yaml"
        path.write_text("retainit: [")
        assert "(retainit.yaml:" in message(resolve)
        path.write_text(FILE)
        assert names() == ["fast", "slow"]

    def test_a_found_file_may_not_name_binaries_without_a_digest(self, tmp_path: Path) -> None:
        path = tmp_path / "retainit.yaml"
        path.write_text("retainit:\n  plugins:\n    - path: libevil.so\n")
        assert "(retainit.yaml:3): expected `path` with a `sha256`" in message(resolve)

    def test_a_listed_plugin_that_is_missing_leaves_the_layers_as_they_were(self, tmp_path: Path) -> None:
        good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
        good.write_text(FILE)
        load_config(good)
        bad.write_text("retainit:\n  plugins: [no_such_plugin]\n  backends: {z: {type: memory}}\n")
        assert "no_such_plugin" in message(lambda: load_config(bad), PluginError)
        assert names() == ["fast", "slow"]

    def test_a_plugin_that_is_refused_says_why(self, python: Callable[..., str]) -> None:
        # On its own, because plugins stay known to their process.
        python("""
        import os
        from retainit import PluginConfig, PluginError, load_config, retain

        path = os.path.abspath("libretainit_fake.so")
        with open(path, "w") as file:
            file.write("no library")
        with open("named.yaml", "w") as file:
            file.write(f"retainit:\\n  plugins:\\n    - path: {path}\\n")
        load_config("named.yaml")
        try:
            retain(backend=PluginConfig("fake"))(len)("abc")
        except PluginError as error:
            assert path in str(error), error
            assert "too few for a shared library" in str(error), error
        else:
            raise AssertionError("accepted")
        """)
