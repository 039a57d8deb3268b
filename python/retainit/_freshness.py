"""The options of `retain` that say how long a result is served, and how long a caller waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retainit import _native
from retainit._options import located
from retainit.errors import ConfigurationError

__all__ = ["NAMES", "check", "check_function", "native"]

_DURATIONS = ("stale_ttl", "stale_if_error", "soft_timeout", "hard_timeout")
#: The options that are checked here.
NAMES = (*_DURATIONS, "refresh_ahead", "run_in_thread", "cache_exceptions")


def check(options: Mapping[str, Any]) -> None:
    """Refuses what has no meaning, and what contradicts itself."""
    seconds = {
        name: located(_of(name), _native.parse_duration, options[name])
        for name in _DURATIONS
        if options[name] is not None
    }
    ahead = options["refresh_ahead"]
    if ahead is not None and ahead != "auto" and not _is_share(ahead):
        raise ConfigurationError(
            f'{_of("refresh_ahead")}: expected a share between 0 and 1, or `"auto"`, found `{ahead!r}`'
        )
    if not isinstance(options["run_in_thread"], bool):
        raise ConfigurationError(
            f"{_of('run_in_thread')}: expected `True` or `False`, found `{options['run_in_thread']!r}`"
        )
    if options["ttl"] is None:
        for name in ("stale_ttl", "stale_if_error", "refresh_ahead"):
            if options[name] is not None:
                raise ConfigurationError(
                    f"{_of(name)}: expected a `ttl` beside it, found `ttl=None`, with which nothing expires"
                )
    soft, hard = seconds.get("soft_timeout"), seconds.get("hard_timeout")
    if soft is not None:
        if hard is not None and soft >= hard:
            raise ConfigurationError(
                f"{_of('soft_timeout')}: expected less than the `hard_timeout` of "
                f"`{options['hard_timeout']!r}`, found `{options['soft_timeout']!r}`"
            )
        if seconds.get("stale_if_error", 0.0) <= seconds.get("stale_ttl", 0.0):
            raise ConfigurationError(
                f"{_of('soft_timeout')}: expected `stale_if_error` beside it, longer than `stale_ttl`, since "
                f"it is how long a caller waits where there is an expired value to fall back on"
            )
    if options["run_in_thread"] and not (soft or hard):
        raise ConfigurationError(
            f"{_of('run_in_thread')}: expected `soft_timeout` or `hard_timeout` beside it, which it is for"
        )
    if options["cache_exceptions"] is not None:
        from retainit._exceptions import check_exceptions

        check_exceptions(options["cache_exceptions"], _of("cache_exceptions"))


def check_function(options: Mapping[str, Any], name: str, asynchronous: bool) -> None:
    """Refuses what does not go with the function."""
    threaded = options.get("run_in_thread", False)
    if asynchronous and threaded:
        raise ConfigurationError(
            f"{_of('run_in_thread')} on `{name}`: expected a synchronous function, found a coroutine "
            f"function, which needs no thread for its timeouts"
        )
    for timeout in ("soft_timeout", "hard_timeout"):
        if options.get(timeout) is not None and not asynchronous and not threaded:
            raise ConfigurationError(
                f"{_of(timeout)} on `{name}`: a synchronous function can only be left behind where it runs "
                f"in a thread of its own; hint: `run_in_thread=True`"
            )


def native(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as `_native.make` takes them."""
    made: dict[str, Any] = {
        name: None if options.get(name) is None else _native.parse_duration(options[name])
        for name in _DURATIONS
    }
    made["refresh_ahead"] = options.get("refresh_ahead")
    made["run_in_thread"] = options.get("run_in_thread", False)
    made["errors"] = None
    if options.get("cache_exceptions") is not None:
        from retainit._exceptions import KeptErrors

        made["errors"] = KeptErrors(options["cache_exceptions"])
    return made


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1


def _of(name: str) -> str:
    return f"option `{name}` of `retain`"
