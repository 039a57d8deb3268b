"""What exactness is made of: the refusal, and descriptions that come back as they were given."""

from __future__ import annotations

import base64
from typing import Any

from retainit import _native


class Inexact(Exception):
    """A value that its form could not give back exactly as it is; the message says why."""


def library_of(kind: type) -> str | None:
    """The library that a class is from, which not every class knows."""
    module = getattr(kind, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else None


def full_name(kind: type) -> str:
    return f"{getattr(kind, '__module__', '?')}.{kind.__qualname__}"


def dump(description: object) -> bytes:
    """Plain data as bytes, or `Inexact` when some of it is not plain."""
    tree = _native.dump_tree(description)
    if tree is None:
        raise Inexact(str(_native.why_no_tree(description)))
    return tree


def load(data: bytes) -> Any:
    return _native.load_tree(data)


def dump_text(description: object) -> bytes:
    """As `dump`, in characters that may stand in the metadata of a schema, which is text."""
    return base64.b64encode(dump(description))


def load_text(text: bytes) -> Any:
    return load(base64.b64decode(text, validate=True))
