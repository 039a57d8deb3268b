"""What a decorated function promises, synchronous ones first."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import weakref
from typing import Any

import pytest

import retainit
from retainit import (
    MISSING,
    ConfigurationError,
    MemoryConfig,
    retain,
)


class Calls:
    """A function that counts its runs."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        self.count += 1
        return (self.count, args, kwargs)


def test_bare_called_and_with_options() -> None:
    @retain
    def bare(x: int) -> object:
        return object()

    @retain()
    def called(x: int) -> object:
        return object()

    @retain(ttl="1h")
    def optioned(x: int) -> object:
        return object()

    for function in (bare, called, optioned):
        assert function(1) is function(1)
        assert function(1) is not function(2)


def test_arguments_that_do_not_fit_raise_what_python_says(counted: Any) -> None:
    f = counted()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        f()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        f(1, z=3)
    with pytest.raises(TypeError, match="multiple values for argument 'x'"):
        f(1, x=1)
    with pytest.raises(TypeError):
        f.cache_get()


def test_what_functions_have() -> None:
    @retain
    def documented(x: int, y: str = "a") -> int:
        """Says what it does."""
        return x

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Says what it does."
    assert documented.__module__ == __name__
    assert documented.__wrapped__(1) == 1
    assert str(inspect.signature(documented)) == "(x: 'int', y: 'str' = 'a') -> 'int'"
    assert not inspect.iscoroutinefunction(documented)
    assert "documented" in repr(documented)
    assert callable(documented)
    weakref.ref(documented)
    vars(documented)["note"] = 5
    assert documented.note == 5  # type: ignore[attr-defined]
    assert copy.copy(documented) is copy.deepcopy(documented) is documented


@retain
def module_level(x: int) -> int:
    return x + 1


def test_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level


class Methods:
    @retain
    def plain(self, x: int) -> object:
        return object()

    @classmethod
    @retain
    def inner_class(cls, x: int) -> object:
        return object()

    @retain
    @classmethod
    def outer_class(cls, x: int) -> object:
        return object()

    @staticmethod
    @retain
    def inner_static(x: int) -> object:
        return object()

    @retain
    @staticmethod
    def outer_static(x: int) -> object:
        return object()


def test_methods_are_told_apart_by_their_object() -> None:
    one, other = Methods(), Methods()
    assert one.plain(1) is one.plain(1)
    assert one.plain(1) is Methods.plain(one, 1)
    assert one.plain(1) is not other.plain(1)
    bound = one.plain
    assert bound(1) is one.plain(x=1)
    assert bound.__self__ is one  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["inner_class", "outer_class", "inner_static", "outer_static"])
def test_class_and_static_methods(name: str) -> None:
    assert getattr(Methods, name)(1) is getattr(Methods(), name)(1)
    assert getattr(Methods, name)(1) is not getattr(Methods, name)(2)
    assert getattr(Methods, name).cache_info().hits >= 1


def test_callables_of_other_kinds() -> None:
    calls = Calls()
    cached = retain(calls)
    assert cached(1) is cached(1)
    assert calls.count == 1
    part = retain(functools.partial(calls, 7))
    assert part(1) == (2, (7, 1), {})
    assert part(1) is part(1)


def test_exceptions_are_raised_and_not_kept() -> None:
    runs = []

    @retain
    def f(x: int) -> int:
        runs.append(x)
        raise KeyError(x)

    for _ in range(2):
        with pytest.raises(KeyError, match="5"):
            f(5)
    assert runs == [5, 5]


def test_none_is_a_value() -> None:
    runs = []

    @retain
    def f(x: int) -> None:
        runs.append(x)

    assert f(1) is None
    assert f(1) is None
    assert runs == [1]
    assert f.cache_get(1) is None
    assert f.cache_get(2) is MISSING
    assert not MISSING


def test_recursive_functions() -> None:
    @retain
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(90) == 2880067194370816120
    assert fibonacci.cache_info().misses == 91


def test_a_function_that_wants_its_own_key_runs_again() -> None:
    runs = []

    @retain
    def f(x: int) -> int:
        runs.append(x)
        return f(x) if len(runs) < 3 else x

    assert f(1) == 1
    assert len(runs) == 3
    assert f(1) == 1
    assert len(runs) == 3


def test_ttl(counted: Any, clock: Any) -> None:
    f = counted(ttl=10)
    first = f(1)
    clock.advance(9)
    assert f(1) is first
    clock.advance(2)
    assert f(1) is not first


def test_without_ttl_values_stay(counted: Any, clock: Any) -> None:
    f = counted()
    first = f(1)
    clock.advance(10 * 365 * 86400)
    assert f(1) is first


def test_ttl_none_overrides_the_backend(counted: Any, clock: Any) -> None:
    retainit.register_backend("short", MemoryConfig(ttl=1))
    inherits, forever = counted(backend="short"), counted(backend="short", ttl=None)
    first, kept = inherits(1), forever(1)
    clock.advance(5)
    assert inherits(1) is not first
    assert forever(1) is kept


def test_jitter_spreads_expiry(counted: Any, clock: Any) -> None:
    f = counted(ttl=100, jitter=0.5)
    for x in range(200):
        f(x)
    clock.advance(100)
    left = sum(f.cache_get(x) is not MISSING for x in range(200))
    assert 50 < left < 150
    clock.advance(51)
    assert all(f.cache_get(x) is MISSING for x in range(200))


def test_operations(counted: Any) -> None:
    f = counted()
    assert f.cache_get(1) is MISSING
    first = f(1)
    assert f.cache_get(1) is first
    assert f.cache_get(x=1, y=2) is first
    f.cache_set("set", 1)
    assert f(1) == "set"
    assert f.cache_delete(1) is True
    assert f.cache_delete(1) is False
    assert f(1) == [2, 1, 2]
    assert f.cache_refresh(1) == [3, 1, 2]
    assert f(1) == [3, 1, 2]
    f(2)
    assert f.cache_info().currsize == 2
    f.cache_clear()
    assert f.cache_info()[:4] == (0, 0, None, 0)
    assert f.cache_get(1) is MISSING
    assert f.cache_parameters()["tiers"] == ["default"]
    assert f.cache_key(1) == f.cache_key(x=1, y=2) != f.cache_key(2)


def test_operations_leave_all_names_to_the_function() -> None:
    @retain
    def f(self: int, value: int) -> int:
        return self + value

    f.cache_set(7, self=1, value=2)
    assert f(1, 2) == f.cache_get(self=1, value=2) == 7
    assert f.cache_key(1, 2) == f.cache_key(value=2, self=1)
    assert f.cache_refresh(self=1, value=2) == 3
    assert f.cache_delete(value=2, self=1) is True


def test_functions_of_one_backend_do_not_mix(counted: Any) -> None:
    retainit.register_backend("shared", MemoryConfig())
    one, other = counted(backend="shared"), counted(backend="shared")
    kept = one(1)
    other(1)
    other.cache_clear()
    assert one(1) is kept
    assert one.cache_info().currsize == 1
    assert other.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_builder": "{usr}"}, "unknown name `usr`.*did you mean `user`"),
        ({"key_builder": "fixed"}, "expected at least one argument"),
        ({"key_builder": "{user"}, "key template"),
        ({"key_builder": 5}, "expected a function or a template"),
        ({"exclude_args": ["usr"]}, "unknown name `usr`.*did you mean `user`"),
        ({"exclude_args": "user"}, "expected a list of names"),
        ({"ttl": 0}, "`ttl`"),
        ({"ttl": -1}, "`ttl`"),
        ({"ttl": float("nan")}, "`ttl`"),
        ({"ttl": "soon"}, "`ttl`"),
        ({"jitter": 2}, "a share from 0 to 1"),
        ({"copy": "clone"}, "option `copy`"),
        ({"version": 1.5}, "option `version`"),
        ({"namespace": 5}, "option `namespace`"),
    ],
)
def test_mistakes_are_found_at_decoration(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):

        @retain(**options)
        def f(user: str) -> None: ...


def test_what_cannot_be_cached_is_refused() -> None:
    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    for wrong in (generator, async_generator):
        with pytest.raises(ConfigurationError, match="generator"):
            retain(wrong)
    with pytest.raises(ConfigurationError, match="expected a callable"):
        retain(5)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="expected a callable"):
        retain(Methods)


def test_copies(counted: Any) -> None:
    shallow, deep, reference = counted(copy="shallow"), counted(copy="deep"), counted()
    shallow(1).append("mine")
    assert shallow(1) == [1, 1, 2]
    nested = retain(copy="deep")(lambda: [[1]])
    nested()[0].append(2)
    assert nested() == [[1]]
    deep(1).append("mine")
    assert deep(1) == [1, 1, 2]
    reference(1).append("mine")
    assert reference(1) == [1, 1, 2, "mine"]


def test_max_size_bounds_a_backend(counted: Any) -> None:
    retainit.register_backend("small", MemoryConfig(max_size=3))
    f = counted(backend="small")
    for x in range(10):
        f(x)
    assert f.cache_info().currsize == 3
    assert f.cache_info().evictions == 7


def test_disabled(counted: Any) -> None:
    f = counted()
    first = f(1)
    with retainit.disabled():
        assert f(1) != first
    assert f(1) is first


def test_options_follow_the_registry(counted: Any) -> None:
    f = counted(backend="later")
    with pytest.raises(ConfigurationError, match="later"):
        f(1)
    retainit.register_backend("later", MemoryConfig())
    assert f(1) is f(1)
    first = f(1)
    retainit.register_backend("later", MemoryConfig(max_size=5))
    assert f(1) is not first
