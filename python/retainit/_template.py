"""Key templates: text with ``{name}`` for arguments, checked when a function is decorated."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence

from retainit import _native
from retainit.errors import ConfigurationError


def template(text: str, parameters: Sequence[str], function: str) -> Callable[..., str]:
    """A key builder that fills `text` with a call's arguments, of which it names at least one.

    Values that are put in have ``\\`` and ``:`` escaped, so that two calls never fill one text.
    """
    subject = f"key template `{text}` of `{function}`"
    if not check(text, parameters, subject) and parameters:
        raise ConfigurationError(
            f"{subject}: expected at least one argument, such as `{{{parameters[0]}}}`; without any, all "
            f"calls would share one key"
        )
    fill = filling(text, parameters)

    def build(_function: object, *args: object, **kwargs: object) -> str:
        return fill(*args, **kwargs)

    return build


def check(text: str, parameters: Sequence[str], subject: str) -> list[str]:
    """The names in a template, of which each is to be a parameter."""
    names = fields(text, subject)
    for name in names:
        root = name.partition(".")[0].partition("[")[0]
        if root not in parameters:
            guess = _native.nearest(root, list(parameters))
            hint = f"; hint: did you mean `{guess}`?" if guess else ""
            expected = ", ".join(f"`{each}`" for each in parameters) or "no name, it has no parameters"
            raise ConfigurationError(f"{subject}: unknown name `{root}`, expected {expected}{hint}")
    return names


def fields(text: str, subject: str) -> list[str]:
    """The names in a template."""
    try:
        return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ConfigurationError(f"{subject}: {error}") from None


def filling(text: str, parameters: Sequence[str]) -> Callable[..., str]:
    """What fills a checked template with a call's arguments in normal form."""
    formatter = _Escaping()

    def fill(*args: object, **kwargs: object) -> str:
        # By position come positional-only parameters, and all before `*args` once there are any.
        return formatter.vformat(text, (), {**dict(zip(parameters, args, strict=False)), **kwargs})

    return fill


def filled(text: str, values: Mapping[str, object], escape: Callable[[str], str]) -> str:
    """A checked template with `values`, of which `escape` makes what is put in."""
    return _Escaping(escape).vformat(text, (), values)


def escaped(value: str) -> str:
    """A value as it is put into a template."""
    return value.replace("\\", "\\\\").replace(":", "\\:")


class _Escaping(string.Formatter):
    def __init__(self, escape: Callable[[str], str] = escaped) -> None:
        self._escape = escape

    def format_field(self, value: object, format_spec: str) -> str:
        return self._escape(str(super().format_field(value, format_spec)))
