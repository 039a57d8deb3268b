"""The option ``tags`` of `retain`: which names a call's entry is invalidated by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retainit import _template
from retainit.errors import ConfigurationError

__all__ = ["check", "native"]

_SUBJECT = "option `tags` of `retain`"


def check(options: Mapping[str, Any]) -> None:
    """Refuses what has no meaning."""
    tags = options["tags"]
    if isinstance(tags, str):
        raise ConfigurationError(
            f"{_SUBJECT}: expected a list of tags, or a function, found `{tags!r}`; hint: write `[{tags!r}]`"
        )
    if not callable(tags) and not isinstance(tags, Sequence):
        raise ConfigurationError(f"{_SUBJECT}: expected a list of tags, or a function, found `{tags!r}`")
    for tag in _listed(tags):
        if not callable(tag) and (not isinstance(tag, str) or not tag):
            raise ConfigurationError(f"{_SUBJECT}: expected names, templates or functions, found `{tag!r}`")


def native(options: Mapping[str, Any], parameters: Sequence[str], function: str) -> dict[str, Any]:
    """The option as `_native.make` takes it."""
    templates: list[str] = []
    functions: list[Callable[..., Sequence[str]]] = []
    for tag in _listed(options["tags"]):
        if callable(tag):
            functions.append(tag)
        else:
            _template.check(tag, parameters, f"tag `{tag}` of `{function}`")
            templates.append(tag)
    return {
        "tags": _Templates(templates, parameters) if templates else None,
        "result_tags": _Functions(functions, function) if functions else None,
    }


def _listed(tags: Any) -> Sequence[Any]:
    return (tags,) if callable(tags) else tuple(tags)


class _Templates:
    """Fills templates with the arguments of a call in normal form."""

    def __init__(self, templates: Sequence[str], parameters: Sequence[str]) -> None:
        self._fill = [_template.filling(template, parameters) for template in templates]

    def __call__(self, *args: Any, **kwargs: Any) -> list[str]:
        return [fill(*args, **kwargs) for fill in self._fill]


class _Functions:
    """Asks functions of the result."""

    def __init__(self, functions: Sequence[Callable[..., Sequence[str]]], function: str) -> None:
        self._functions = functions
        self._function = function

    def __call__(self, result: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> list[str]:
        names: list[str] = []
        for function in self._functions:
            said = function(result, *arguments, **keywords)
            names.extend([said] if isinstance(said, str) else said)
        for name in names:
            if not isinstance(name, str):
                raise ConfigurationError(
                    f"what the function `tags` of `{self._function}` gave: expected names, found `{name!r}`"
                )
        return names
