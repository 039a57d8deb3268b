"""Key templates: text with ``{name}`` for arguments, checked when a function is decorated."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from retainit import _native
from retainit.errors import ConfigurationError


def template(text: str, parameters: Sequence[str], function: str) -> Callable[..., str]:
    """A key builder that fills `text` with a call's arguments.

    Values that are put in have ``\\`` and ``:`` escaped, so that two calls never fill one text.
    """
    subject = f"key template `{text}` of `{function}`"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigurationError(f"{subject}: {error}") from None
    for _, name, _, _ in parts:
        if name is None:
            continue
        root = name.partition(".")[0].partition("[")[0]
        if root not in parameters:
            guess = _native.nearest(root, list(parameters))
            hint = f"; hint: did you mean `{guess}`?" if guess else ""
            expected = ", ".join(f"`{each}`" for each in parameters) or "no name, it has no parameters"
            raise ConfigurationError(f"{subject}: unknown name `{root}`, expected {expected}{hint}")
    names = [name for _, name, _, _ in parts if name is not None]
    if not names and parameters:
        raise ConfigurationError(
            f"{subject}: expected at least one argument, such as `{{{parameters[0]}}}`; without any, all "
            f"calls would share one key"
        )
    formatter = _Escaping()

    def build(_function: object, *args: object, **kwargs: object) -> str:
        # By position come positional-only parameters, and all before `*args` once there are any.
        return formatter.vformat(text, (), {**dict(zip(parameters, args, strict=False)), **kwargs})

    return build


class _Escaping(string.Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        filled = str(super().format_field(value, format_spec))
        return filled.replace("\\", "\\\\").replace(":", "\\:")
