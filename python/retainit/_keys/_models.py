"""Classes that declare what they hold: enums, data classes, models.

A class whose `__eq__` is not the one made for it says itself what is equal, and is left to that.
"""

from __future__ import annotations

import enum
from dataclasses import fields, is_dataclass
from typing import Any

from retainit._keys._common import Reduced, Reducer, qualified


def reducer(kind: type) -> Reducer | None:
    """What makes keys of such a class's objects, or `None`."""
    name = qualified(kind)
    if issubclass(kind, enum.Enum):
        return lambda value: (f"enum:{name}", value.value if value.name is None else value.name)
    if hasattr(kind, "__pydantic_generic_metadata__"):
        return _pydantic(kind)
    if is_dataclass(kind):
        return _dataclass(kind, name)
    if hasattr(kind, "__attrs_attrs__"):
        return _attrs(kind, name)
    if hasattr(kind, "__fields__") and hasattr(kind, "__private_attributes__"):
        return _pydantic_1(kind, name)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda value: (f"namedtuple:{name}", tuple(value))
    return None


def _dataclass(kind: Any, name: str) -> Reducer | None:
    if not getattr(getattr(kind, "__dataclass_params__", None), "eq", False) or not _is_generated(kind):
        return None
    # `compare=False` says that a field does not make two objects different.
    names = [field.name for field in fields(kind) if field.compare]
    return lambda value: (f"dataclass:{name}", tuple(getattr(value, each) for each in names))


def _attrs(kind: Any, name: str) -> Reducer | None:
    if not _is_generated(kind):
        return None
    compared = [(each.name, each.eq_key) for each in kind.__attrs_attrs__ if each.eq]

    def reduce(value: Any) -> Reduced:
        parts = ((getattr(value, each), key) for each, key in compared)
        return f"attrs:{name}", tuple(part if key is None else key(part) for part, key in parts)

    return reduce


def _is_generated(kind: type) -> bool:
    method: Any = kind.__eq__
    if getattr(method, "__qualname__", "").endswith("__create_fn__.<locals>.__eq__"):
        return True
    code = getattr(method, "__code__", None)
    return code is not None and (
        code.co_filename == "<string>" or code.co_filename.startswith("<attrs generated")
    )


def _pydantic(kind: Any) -> Reducer | None:
    if _first(kind, "__eq__") not in ("pydantic.main", "pydantic.root_model"):
        return None
    generic = kind.__pydantic_generic_metadata__
    name, names = f"pydantic:{qualified(generic['origin'] or kind)}", list(kind.model_fields)

    def reduce(value: Any) -> Reduced:
        # All that `==` compares, and which fields were given: `model_dump(exclude_unset=True)` tells.
        return name, (
            generic["args"],
            {each: value.__dict__[each] for each in names if each in value.__dict__},
            value.__pydantic_extra__,
            value.__pydantic_private__,
            value.__pydantic_fields_set__,
        )

    return reduce


def _pydantic_1(kind: Any, name: str) -> Reducer | None:
    if _first(kind, "__eq__") not in ("pydantic.v1.main", "pydantic.main"):
        return None

    def reduce(value: Any) -> Reduced:
        private = {each: getattr(value, each, None) for each in kind.__private_attributes__}
        return f"pydantic:{name}", ((), dict(value.__dict__), None, private or None, value.__fields_set__)

    return reduce


def _first(kind: type, method: str) -> str:
    """The module of the class that a method comes from."""
    return next(base.__module__ for base in kind.__mro__ if method in base.__dict__)
