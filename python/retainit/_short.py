"""What `init` says, as configurations: ``init(backend="disk", disk_base_path="cache")``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from retainit import _native
from retainit._config import (
    BackendConfig,
    BackendSpec,
    DiskConfig,
    MemoryConfig,
    PluginConfig,
    TieredConfig,
    check_tiers,
)
from retainit.errors import ConfigurationError

__all__ = ["hint", "listed", "short_form"]

_TYPED: dict[str, type[BackendConfig]] = {"memory": MemoryConfig, "disk": DiskConfig}
_OPTIONS = (
    "backend",
    "backends",
    "primary",
    "secondary",
    "ttl",
    "namespace",
    "circuit_breaker",
    "circuit_breaker_enabled",
    "circuit_breaker_threshold",
    "circuit_breaker_timeout",
)


class Short(NamedTuple):
    """A short form, taken apart."""

    #: What functions use that name no backend; `None` leaves it as it is.
    default: BackendSpec | None
    #: Types that were given options.
    backends: dict[str, BackendConfig]


def short_form(
    backend: BackendSpec | None,
    backends: Sequence[BackendSpec] | None,
    primary: BackendSpec | None,
    secondary: BackendSpec | None,
    options: Mapping[str, object],
) -> Short:
    """Takes the arguments of `init` apart."""
    tiers: Sequence[BackendSpec] | None = None
    if backends is not None:
        _check_goes_with("backends", backend, "tiered")
        tiers = backends
    if primary is not None or secondary is not None:
        _check_goes_with("primary` and `secondary", backend, "hybrid")
        if primary is None or secondary is None:
            missing = "primary" if primary is None else "secondary"
            raise ConfigurationError(
                f"option `{missing}` of `init`: expected a name or a configuration beside the other, "
                "found none"
            )
        tiers = (primary, secondary)
    default = backend
    if tiers is not None:
        default = TieredConfig(tiers=check_tiers(tiers, "option `backends` of `init`"))
    elif backend is not None:
        check_tiers((backend,), "option `backend` of `init`")
    names = [name for name in (tiers or (backend,)) if isinstance(name, str)]
    return Short(default, _by_type(options, names))


def listed(names: Iterable[str]) -> str:
    """Names in backticks, as messages have them."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def hint(name: str, candidates: Iterable[str]) -> str:
    """The nearest valid name, or nothing."""
    nearest = _native.nearest(name, list(candidates))
    return "" if nearest is None else f"; hint: did you mean `{nearest}`?"


def _check_goes_with(options: str, backend: BackendSpec | None, expected: str) -> None:
    if backend is not None and backend != expected:
        raise ConfigurationError(
            f'option `{options}` of `init`: expected `backend="{expected}"` beside it, found `{backend!r}`'
        )


def _by_type(options: Mapping[str, object], names: Sequence[str]) -> dict[str, BackendConfig]:
    grouped: dict[str, dict[str, object]] = {}
    for option, value in options.items():
        # The longest name wins, so that options of `disk_large` are not taken for those of `disk`.
        name = max((each for each in names if option.startswith(f"{each}_")), key=len, default=None)
        if name is None:
            raise ConfigurationError(_unknown(option, names))
        grouped.setdefault(name, {})[option[len(name) + 1 :]] = value
    return {name: _config(name, given) for name, given in grouped.items()}


def _config(name: str, given: Mapping[str, object]) -> BackendConfig:
    typed = _TYPED.get(name)
    if typed is None:
        return PluginConfig(name, **given)  # type: ignore[arg-type]
    known = [each.name for each in fields(typed)]
    for option in given:
        if option not in known:
            prefixed = [f"{name}_{each}" for each in known]
            raise ConfigurationError(
                f"unknown option `{name}_{option}` of `init`: expected one of {listed(prefixed)}"
                f"{hint(f'{name}_{option}', prefixed)}"
            )
    return typed(**given)  # type: ignore[arg-type]


def _unknown(option: str, names: Sequence[str]) -> str:
    known = [*_OPTIONS]
    for name, typed in _TYPED.items():
        prefixed = [f"{name}_{each.name}" for each in fields(typed)]
        if option in prefixed:
            return (
                f"option `{option}` of `init`: expected `{name}` among the backends, "
                f'found {listed(names)}; hint: `backend="{name}"`'
            )
        known += prefixed if name in names else []
    places = "".join(f", or an option of `{name}` as `{name}_...`" for name in names)
    expected = f"expected one of {listed(_OPTIONS)}{places}"
    return f"unknown option `{option}` of `init`: {expected}{hint(option, known)}"
