"""The script of a testing backend, followed by the plugin while it runs.

The plugin exports C functions; this module calls them in the very library that the loader opened.
"""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from retainit import _native
from retainit.errors import ConfigurationError

Answers: TypeAlias = Literal["blocking", "later", "inline"]
Failure: TypeAlias = Literal[
    "busy",
    "retryable",
    "timeout",
    "configuration",
    "unsupported",
    "corrupt",
    "fatal",
    "cancelled",
    "invalid",
]

#: The plugin's component for each manner of answering.
COMPONENTS: Final[dict[str, str]] = {
    "blocking": "testing",
    "later": "testing_async",
    "inline": "testing_inline",
}


class Call(NamedTuple):
    """One operation that a backend was asked for."""

    #: ``"get"``, ``"set"``, ``"delete"``, ``"clear"``, ``"get_many"`` and so on.
    operation: str
    #: Storage keys, or a prefix or a lease's name; one for most operations.
    keys: tuple[bytes, ...]
    #: Seconds to live that a write asked for; `None` for ever, and for what writes nothing.
    ttl: float | None
    #: When it came, in seconds of Unix time; a `FakeClock` moves it.
    time: float
    #: What the script made of it: ``"proper"``, ``"fail"``, ``"delay"``, ``"late"``, ``"hang"``,
    #: ``"garbage"``, ``"twice"`` or ``"panic"``.
    outcome: str
    #: Whether it is over; a call that hangs is not.
    answered: bool

    @property
    def key(self) -> bytes:
        """The first key; empty where there is none."""
        return self.keys[0] if self.keys else b""


class Script:
    """What the backends of one component and channel do."""

    def __init__(self, component: str, channel: str) -> None:
        self._component = component.encode()
        self._channel = channel.encode()

    def command(self, do: str, **arguments: object) -> dict[str, Any]:
        """Has the plugin follow a command; its answer.

        Raises `ConfigurationError` where the plugin says that it cannot.
        """
        text = json.dumps({"do": do, **arguments}).encode()
        library = _library()
        answer = library.retainit_testing_control(self._component, self._channel, text)
        try:
            said = ctypes.string_at(answer)
        finally:
            library.retainit_testing_free(answer)
        answered: dict[str, Any] = json.loads(said)
        if "error" in answered:
            raise ConfigurationError(answered["error"])
        return answered

    def calls(self) -> list[Call]:
        """The calls on record, oldest first."""
        return [
            Call(
                operation=each["operation"],
                keys=tuple(map(bytes.fromhex, each["keys"])),
                ttl=None if each["ttl"] is None else each["ttl"] / 1e9,
                time=each["time"] / 1e9,
                outcome=each["outcome"],
                answered=each["answered"],
            )
            for each in self.command("recorded")["calls"]
        ]


_opened: ctypes.CDLL | None = None


def _library() -> ctypes.CDLL:
    global _opened
    if _opened is None:
        # The loader checks the file and opens it; the same path gives the same library.
        path = _native.load_plugin("testing")
        library = ctypes.CDLL(path, mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_NOW", 0))
        library.retainit_testing_control.argtypes = [ctypes.c_char_p] * 3
        library.retainit_testing_control.restype = ctypes.c_void_p
        library.retainit_testing_free.argtypes = [ctypes.c_void_p]
        library.retainit_testing_free.restype = None
        _opened = library
    return _opened
