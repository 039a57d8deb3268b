"""How a backend is kept from holding up or failing its callers: timeout, circuit breaker, write-behind.

The backend configurations, configuration files and, for the breaker, `init` take the same options. A
backend that never blocks (memory) has no use for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from retainit import _native
from retainit._options import UNSET, Duration, Unset, located, seconds
from retainit.errors import ConfigurationError

__all__ = ["KEYS", "Protection", "check", "protect", "short"]

#: Failures, less successes, within a minute that open a circuit.
THRESHOLD = 5
#: Seconds that a circuit stays open before a call finds out how the backend is.
OPEN_FOR = 60.0
#: Entries that may wait with ``write_behind=True``.
WRITE_BEHIND = 1024

MOST_FAILURES = 65_535
MOST_WAITING = 1_000_000


class Protection(NamedTuple):
    """The options, as they were given."""

    timeout: Duration | Unset | None = UNSET
    circuit_breaker: bool | Unset = UNSET
    circuit_breaker_threshold: int | Unset = UNSET
    circuit_breaker_timeout: Duration | Unset = UNSET
    write_behind: bool | int | Unset = UNSET

    def breaker(self, other: Protection) -> tuple[int, float] | None:
        """Threshold and seconds of the breaker, the other's where these say nothing; `None` for none."""
        ours = self.circuit_breaker
        if ours is UNSET and not self.has_details():
            ours = other.circuit_breaker
        if ours is False:
            return None
        threshold = self.circuit_breaker_threshold
        if isinstance(threshold, Unset):
            threshold = other.circuit_breaker_threshold
        open_for = self.circuit_breaker_timeout
        if isinstance(open_for, Unset):
            open_for = other.circuit_breaker_timeout
        return (
            THRESHOLD if isinstance(threshold, Unset) else threshold,
            OPEN_FOR if isinstance(open_for, Unset) else _native.parse_duration(open_for),
        )

    def has_details(self) -> bool:
        """Whether the breaker was described."""
        return self.circuit_breaker_threshold is not UNSET or self.circuit_breaker_timeout is not UNSET


#: Names of the options.
KEYS = Protection._fields


def check(
    options: Mapping[str, Any], subject: str, place: Callable[[str], str] = lambda option: ""
) -> Protection:
    """The options, unless something is wrong with them; ``place`` says where one was given."""
    given = Protection(**options)

    def called(name: str) -> str:
        return f"option `{name}` of {subject}{place(name)}"

    def wrong(name: str, expected: str) -> ConfigurationError:
        return ConfigurationError(f"{called(name)}: expected {expected}, found `{options[name]!r}`")

    if given.timeout is not UNSET and given.timeout is not None:
        located(called("timeout"), _native.parse_duration, given.timeout)
    if given.circuit_breaker is not UNSET and not isinstance(given.circuit_breaker, bool):
        raise wrong("circuit_breaker", "`True` or `False`")
    if given.circuit_breaker_threshold is not UNSET and not _is_count(
        given.circuit_breaker_threshold, MOST_FAILURES
    ):
        raise wrong("circuit_breaker_threshold", f"a whole number from 1 to {MOST_FAILURES}")
    if given.circuit_breaker_timeout is not UNSET:
        located(called("circuit_breaker_timeout"), _native.parse_duration, given.circuit_breaker_timeout)
    if given.circuit_breaker is False and given.has_details():
        name = KEYS[2] if given.circuit_breaker_threshold is not UNSET else KEYS[3]
        raise ConfigurationError(
            f"{called(name)}: expected it beside a circuit breaker, found it beside `circuit_breaker=False`, "
            f"where nothing would use it"
        )
    if (
        given.write_behind is not UNSET
        and not isinstance(given.write_behind, bool)
        and not _is_count(given.write_behind, MOST_WAITING)
    ):
        raise wrong("write_behind", f"`True`, `False`, or a number of entries from 1 to {MOST_WAITING}")
    return given


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def short(
    circuit_breaker: bool | Unset,
    circuit_breaker_enabled: bool | Unset,
    circuit_breaker_threshold: int | Unset,
    circuit_breaker_timeout: Duration | Unset,
) -> Protection:
    """What `init` says of all breakers, which has two names for one option."""
    if UNSET not in (circuit_breaker, circuit_breaker_enabled) and circuit_breaker != circuit_breaker_enabled:
        raise ConfigurationError(
            f"option `circuit_breaker_enabled` of `init`: expected what `circuit_breaker` says, "
            f"`{circuit_breaker!r}`, found `{circuit_breaker_enabled!r}`"
        )
    given = {
        "circuit_breaker": circuit_breaker_enabled if circuit_breaker is UNSET else circuit_breaker,
        "circuit_breaker_threshold": circuit_breaker_threshold,
        "circuit_breaker_timeout": circuit_breaker_timeout,
    }
    return check(given, "`init`")


def refuse(
    given: Protection, subject: str, found: str, place: Callable[[str], str] = lambda option: ""
) -> None:
    """Refuses options where nothing would use them; `circuit_breaker=False` and the like are no options."""
    for name, value in zip(KEYS, given, strict=True):
        if value not in (UNSET, False, None):
            raise ConfigurationError(
                f"option `{name}` of {subject}{place(name)}: expected it at a backend whose calls may "
                f"block, found it at {found}"
            )


def protect(
    backend: _native.Backend,
    given: Protection,
    others: Protection,
    place: Callable[[str], str] = lambda option: "",
) -> None:
    """Has the engine do what the options say, the others' where they say nothing."""
    if "inline" in backend.capabilities:
        found = f"one of type `{backend.type}`, whose calls never do"
        refuse(given, f"backend `{backend.name}`", found, place)
        return
    timeout = seconds(given.timeout)
    waiting = given.write_behind
    if isinstance(waiting, (bool, Unset)):
        waiting = WRITE_BEHIND if waiting is True else 0
    backend.protect(None if isinstance(timeout, Unset) else timeout, given.breaker(others), waiting)
