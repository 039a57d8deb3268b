"""Exceptions that are kept in place of a result: the option ``cache_exceptions``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from retainit import _native
from retainit._identity import qualified_name
from retainit._options import UNSET, Duration, Unset, located
from retainit.errors import ConfigurationError, SerializationError

__all__ = ["Exceptions", "KeptErrors", "check_exceptions", "dump", "load", "raised"]

#: What the option takes.
Exceptions: TypeAlias = (
    "type[Exception] | Sequence[type[Exception]] | Mapping[type[Exception], Duration | Unset | None]"
)

#: Classes that any function keeps: only these, and classes derived from them, are made from stored bytes.
_declared: set[type[Exception]] = set()


def check_exceptions(value: object, subject: str) -> None:
    """Refuses what is neither exception types nor a mapping of them to durations."""
    if isinstance(value, Mapping):
        classes = tuple(value)
        for ttl in value.values():
            if ttl is not None and ttl is not UNSET:
                located(subject, _native.parse_duration, ttl)
    else:
        classes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for each in classes or (value,):
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise ConfigurationError(
                f"{subject}: expected exception types, or a mapping of them to durations, found `{each!r}`"
            )


class KeptErrors:
    """Which exceptions of a function are kept, and for how long."""

    def __init__(self, declared: Any) -> None:
        if not isinstance(declared, Mapping):
            declared = dict.fromkeys(declared if isinstance(declared, (tuple, list)) else (declared,), UNSET)
        self._lives = {
            each: True if ttl is UNSET else (None if ttl is None else _native.parse_duration(ttl))
            for each, ttl in declared.items()
        }
        _declared.update(self._lives)

    def __call__(self, error: BaseException) -> tuple[BaseException, bool | float | None] | None:
        """What is kept of an exception and how long (`True`: as tiers say, `None`: for ever), or `None`."""
        # The nearest class counts, as with `except` clauses in the order of derivation.
        for each in type(error).__mro__:
            if each in self._lives:
                return raised(error), self._lives[each]
        return None


def raised(error: BaseException) -> BaseException:
    """A copy without traceback, cause and context, which would keep frames and their variables alive."""
    return _made(type(error), error.args, dict(vars(error)))


def dump(kept: _native.KeptError) -> list[Any]:
    """An exception as plain data: the name of its class, its arguments and its attributes."""
    error = kept.error
    return [qualified_name(type(error)), list(error.args), dict(vars(error))]


def load(data: Any) -> _native.KeptError:
    """The exception of what `dump` gave."""
    name, arguments, attributes = data
    for each in _classes():
        if qualified_name(each) == name:
            return _native.KeptError(_made(each, tuple(arguments), attributes))
    raise SerializationError(
        f"a kept exception of class `{name}`: expected one that `cache_exceptions` of a function names"
    )


def _made(cls: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    # Without `__init__`, whose arguments may be others than those the exception keeps.
    error = cls.__new__(cls, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


def _classes() -> Iterator[type[Exception]]:
    pending, seen = list(_declared), set()
    while pending:
        each = pending.pop()
        if each not in seen:
            seen.add(each)
            yield each
            pending.extend(each.__subclasses__())
