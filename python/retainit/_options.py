"""Values that options take, and their checks: shared by `retain` and the configurations."""

from __future__ import annotations

import enum

from retainit import _native
from retainit.errors import ConfigurationError

# As `typing` has it, which is not imported here: importing this package is to be quick.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Any, Final, TypeAlias, TypeVar

    T = TypeVar("T")

__all__ = [
    "UNSET",
    "Duration",
    "Size",
    "Unset",
    "check_duration",
    "check_name",
    "check_namespace",
    "located",
    "seconds",
]


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.name


#: Said of an option that is left to others, where `None` has a meaning of its own.
UNSET: Final = Unset.UNSET

#: Seconds, a ``timedelta``, or text such as ``"90s"``, ``"2h30m"``, ``"7d"``.
Duration: TypeAlias = "float | timedelta | str"
#: Bytes, or text such as ``"512MiB"``.
Size: TypeAlias = "int | str"


def seconds(ttl: Duration | Unset | None) -> float | Unset | None:
    """A checked duration in seconds; `None` and `UNSET` stay what they are."""
    return ttl if ttl is None or isinstance(ttl, Unset) else _native.parse_duration(ttl)


def check_duration(value: object, subject: str) -> None:
    """Refuses what is no duration; `None` and `UNSET` are fine."""
    if value is not None and value is not UNSET:
        located(subject, _native.parse_duration, value)


def check_name(value: object, subject: str) -> None:
    """Refuses what is no name."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{subject}: expected a name, found `{value!r}`")


def check_namespace(value: object, subject: str) -> None:
    """Refuses what is no namespace; `None` is fine."""
    if value is not None:
        check_name(value, subject)


def located(subject: str, parse: Callable[[Any], T], value: object) -> T:
    """What `parse` makes of a value, whose refusals are to say of what option."""
    try:
        return parse(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{subject}: {error}") from None
