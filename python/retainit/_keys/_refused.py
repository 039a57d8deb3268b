"""What has no key on purpose, although it may have a hash.

Such objects have an identity, by which they could be told apart inside the process. But a generator
passed twice is not the same argument twice, and a file is not what it was when it has been read.
"""

from __future__ import annotations

import io
import types
from typing import Any

from retainit._keys._common import Reducer, refuse, root

_EXCLUDE = "name the argument in `exclude_args`"
_LOCKS = {"_thread", "threading"}


def reducer(kind: type) -> Reducer | None:
    """What says that there is no key; `None` if the type is none of those here."""
    reason = _reason(kind)
    if reason is None:
        return None
    why, remedy = reason

    def refused(value: Any) -> None:
        refuse(kind, why, remedy)

    return refused


def _reason(kind: type) -> tuple[str, str] | None:
    bases = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
    if issubclass(kind, io.IOBase) or "tempfile._TemporaryFileWrapper" in bases:
        return "a file says nothing of what is in it", f"pass its path or its content, or {_EXCLUDE}"
    if "_socket.socket" in bases:
        return "a connection says nothing about the call", _EXCLUDE
    if root(kind) in _LOCKS or kind.__module__ == "multiprocessing.synchronize":
        return "a lock or a thread says nothing about the call", _EXCLUDE
    if issubclass(kind, types.CoroutineType):
        return "a coroutine can be awaited only once", "await it, and pass its result"
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return "it can be read only once", f"pass a list or a tuple of its items, or {_EXCLUDE}"
    return None
