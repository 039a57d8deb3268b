"""Pickles that may refer to listed classes and functions only, and that have a largest size."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

from retainit.errors import SerializationError


def dumps(value: object, allow: Sequence[str] | None, max_bytes: int | None) -> bytes:
    """The pickle of ``value``.

    Raises `SerializationError` if it is too large, or if `loads` would refuse it.
    """
    data = pickle.dumps(value, 5)
    _check_size(len(data), max_bytes)
    if allow is not None:
        # The one who reads it decides, so reading it is what shows whether it may be written.
        _Unpickler(io.BytesIO(data), allow).load()
    return data


def loads(data: Any, allow: Sequence[str] | None, max_bytes: int | None) -> Any:
    """The value of a pickle.

    Raises `SerializationError` if it is too large, or refers to what is not in ``allow``.
    """
    view = memoryview(data)
    _check_size(len(view), max_bytes)
    if allow is None:
        return pickle.loads(view)
    return _Unpickler(io.BytesIO(view), allow).load()


def _check_size(size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise SerializationError(
            f"a pickle of {size} bytes: expected at most {max_bytes} (`max_bytes` of the pickle policy)"
        )


class _Unpickler(pickle.Unpickler):
    """As "Restricting Globals" of Python's own documentation of pickle has it."""

    def __init__(self, file: io.BytesIO, allow: Sequence[str]) -> None:
        super().__init__(file)
        self._allow = allow

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self._allow:
            raise SerializationError(
                f"a pickle refers to `{module}.{name}`, which the pickle policy does not list; "
                f"hint: add it to `allow`, if loading it can do no harm"
            )
        return super().find_class(module, name)
