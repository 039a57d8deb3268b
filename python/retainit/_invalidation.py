"""Invalidation by what entries have in common: a tag, a key, a pattern of keys, an event of the domain.

The engine (`core/src/invalidate.rs`, `core/src/tags.rs`) does it; here is where it goes, and what a caller is
told.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from retainit import _native, _registry, _template
from retainit._options import check_namespace
from retainit.errors import ConfigurationError, RetainitError

if TYPE_CHECKING:
    from typing_extensions import Never

__all__ = [
    "Invalidation",
    "Tag",
    "aemit",
    "ainvalidate",
    "ainvalidate_entity",
    "ainvalidate_pattern",
    "ainvalidate_tag",
    "ainvalidate_tags",
    "emit",
    "invalidate",
    "invalidate_entity",
    "invalidate_pattern",
    "invalidate_tag",
    "invalidate_tags",
    "on_domain_event",
    "on_entity",
    "tag",
]

T = TypeVar("T")


class Tag(NamedTuple):
    """A tag among the patterns of an event; made by `tag`."""

    #: A name, or a template.
    name: str


def tag(name: str) -> Tag:
    """A tag, where patterns are expected: ``tag("user:{id}")`` in `on_domain_event` and `on_entity`."""
    _check_text(name, "`tag`", "a name or a template")
    return Tag(name)


class Invalidation:
    """Invalidates in all backends that are in use: the functions of this package. `Cache` has the same."""

    __slots__ = ()

    def _places(self) -> tuple[Sequence[_registry.Tier], bool]:
        """Backends, nearest first, and whether those of all functions too."""
        return _registry.resolve(None), True

    def invalidate(self, key: str, *, namespace: str | None = None) -> bool:
        """Removes the entries of a key that a ``key_builder`` gave, of every function in this process.

        Returns whether there was one. ``namespace`` limits it to one; `None` stands for all that are used.

        Raises `BackendError` where a backend failed, once all others are done: it is told again when it is
        back, and until then nothing of the key is read from it.
        """
        _check_text(key, "key to invalidate")
        return self._run(_native.invalidate_key, key, namespace) > 0

    def invalidate_tag(self, tag: str, *, namespace: str | None = None) -> bool:
        """Invalidates every entry that carries the tag, however many there are, in every process.

        Returns whether any backend, or an entry in this process, had the tag. Entries in the memory of
        other processes are noticed there within `init`'s ``tag_interval``. ``namespace`` and errors are as
        for `invalidate`.
        """
        return self.invalidate_tags([tag], namespace=namespace) > 0

    def invalidate_tags(self, tags: Sequence[str], *, namespace: str | None = None) -> int:
        """As `invalidate_tag` for several: how many of them anything had."""
        if isinstance(tags, str):
            raise ConfigurationError(
                f"tags to invalidate: expected a list of names, found `{tags!r}`; hint: write `[{tags!r}]`"
            )
        names = list(dict.fromkeys(tags))
        for name in names:
            _check_text(name, "tag to invalidate")
        return self._run(_native.invalidate_tags, names, namespace) if names else 0

    def invalidate_pattern(self, pattern: str, *, namespace: str | None = None) -> int:
        r"""Removes the entries whose key, which a ``key_builder`` gave, matches a glob: how many there were.

        ``*`` is any text, ``?`` one byte, ``[a-z]`` and ``[!a-z]`` one byte of a set, and ``\`` takes what
        follows as it is. In backends outside the process, entries of functions that this process does not
        know count too; the memory of other processes is not reached.

        ``namespace`` and errors are as for `invalidate`. Raises `ConfigurationError`, and does nothing, where
        a backend cannot list its entries.
        """
        _check_text(pattern, "pattern to invalidate")
        return self._run(_native.invalidate_pattern, pattern, namespace)

    async def ainvalidate(self, key: str, *, namespace: str | None = None) -> bool:
        """As `invalidate`, while other tasks go on."""
        return await self._off_loop(lambda: self.invalidate(key, namespace=namespace))

    async def ainvalidate_tag(self, tag: str, *, namespace: str | None = None) -> bool:
        """As `invalidate_tag`, while other tasks go on."""
        return await self._off_loop(lambda: self.invalidate_tag(tag, namespace=namespace))

    async def ainvalidate_tags(self, tags: Sequence[str], *, namespace: str | None = None) -> int:
        """As `invalidate_tags`, while other tasks go on."""
        return await self._off_loop(lambda: self.invalidate_tags(tags, namespace=namespace))

    async def ainvalidate_pattern(self, pattern: str, *, namespace: str | None = None) -> int:
        """As `invalidate_pattern`, while other tasks go on."""
        return await self._off_loop(lambda: self.invalidate_pattern(pattern, namespace=namespace))

    def _run(self, operation: Callable[..., tuple[int, list[Any]]], what: Any, namespace: str | None) -> int:
        check_namespace(namespace, "option `namespace` of an invalidation")
        tiers, everywhere = self._places()
        failures = _resolve_functions()
        own = _registry.defaults().namespace
        named = [(each.backend, each.namespace or own or "") for each in tiers]
        found, failed = operation(named, everywhere, namespace, what)
        failures.extend(failed)
        if failures:
            _raise(failures)
        return found

    async def _off_loop(self, operation: Callable[[], T]) -> T:
        from retainit._waits import off_loop

        return await off_loop(True, operation, shielded=True)


def _resolve_functions() -> list[BaseException]:
    """Finds the backends of functions that have not been called yet: what others stored is theirs too."""
    cached = sys.modules.get("retainit._cached")
    failures: list[BaseException] = []
    for function in list(cached.invalidated) if cached is not None else ():
        try:
            _native.resolve(function)
        except RetainitError as error:
            # One that cannot be used keeps no other from being invalidated.
            failures.append(error)
    return failures


def _raise(failures: Sequence[BaseException]) -> Never:
    first, *others = failures
    if sys.version_info >= (3, 11):
        for other in others:
            first.add_note(str(other))
    raise first


def _check_text(text: object, subject: str, expected: str = "text") -> None:
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"{subject}: expected {expected}, found `{text!r}`")


_everywhere = Invalidation()
invalidate = _everywhere.invalidate
invalidate_tag = _everywhere.invalidate_tag
invalidate_tags = _everywhere.invalidate_tags
invalidate_pattern = _everywhere.invalidate_pattern
ainvalidate = _everywhere.ainvalidate
ainvalidate_tag = _everywhere.ainvalidate_tag
ainvalidate_tags = _everywhere.ainvalidate_tags
ainvalidate_pattern = _everywhere.ainvalidate_pattern

# What each event, and each kind of entity, invalidates.
_events: dict[str, list[str | Tag]] = {}
_entities: dict[str, list[str | Tag]] = {}


def on_domain_event(events: Mapping[str, Sequence[str | Tag]]) -> None:
    """Says what events of the domain invalidate: patterns of keys, and tags.

    ::

        on_domain_event({"user.updated": ["user:{id}*", tag("user:{id}")]})
        emit("user.updated", id=123)

    Values are filled in as templates of keys fill them, and mean themselves whatever characters they have.
    What is said of an event adds to what was said of it before.

    Raises `ConfigurationError` where it is no mapping of names to lists of patterns and tags.
    """
    _add(_events, events, "`on_domain_event`", None)


def on_entity(entities: Mapping[str, Sequence[str | Tag]]) -> None:
    """Says what belongs to an entity, by its ``{id}``: as `on_domain_event`, for `invalidate_entity`."""
    _add(_entities, entities, "`on_entity`", ["id"])


def emit(event: str, /, **values: object) -> int:
    """Invalidates what `on_domain_event` said of an event: how many entries matched, and tags were in use.

    Raises `ConfigurationError` for an event that nothing was said of, or where a value is missing that a
    pattern wants; and what `Invalidation.invalidate_pattern` and `Invalidation.invalidate_tags` raise.
    """
    return _apply(_events, event, values, "event")


def invalidate_entity(entity: str, id: object, /) -> int:
    """Invalidates what `on_entity` said belongs to an entity; counts and errors are as for `emit`."""
    return _apply(_entities, entity, {"id": id}, "entity")


async def aemit(event: str, /, **values: object) -> int:
    """As `emit`, while other tasks go on."""
    return await _everywhere._off_loop(lambda: emit(event, **values))


async def ainvalidate_entity(entity: str, id: object, /) -> int:
    """As `invalidate_entity`, while other tasks go on."""
    return await _everywhere._off_loop(lambda: invalidate_entity(entity, id))


def _add(
    known: dict[str, list[str | Tag]],
    said: Mapping[str, Sequence[str | Tag]],
    subject: str,
    names: Sequence[str] | None,
) -> None:
    if not isinstance(said, Mapping):
        raise ConfigurationError(f"{subject}: expected a mapping of names to lists, found `{said!r}`")
    checked: dict[str, list[str | Tag]] = {}
    for name, patterns in said.items():
        if isinstance(patterns, (str, Tag)) or not isinstance(patterns, Sequence):
            raise ConfigurationError(
                f"{subject}, `{name}`: expected a list of patterns and tags, found `{patterns!r}`"
            )
        for each in patterns:
            text: object = each.name if isinstance(each, Tag) else each
            if not isinstance(text, str) or not text:
                raise ConfigurationError(
                    f"{subject}, `{name}`: expected a pattern or a tag, found `{each!r}`"
                )
            where = f"{subject}, `{name}`: pattern `{text}`"
            if names is None:
                _template.fields(text, where)
            else:
                _template.check(text, names, where)
        checked[name] = list(patterns)
    for name, new in checked.items():
        old = known.setdefault(name, [])
        old.extend(each for each in new if each not in old)


def _apply(known: Mapping[str, list[str | Tag]], name: str, values: Mapping[str, object], what: str) -> int:
    if name not in known:
        guess = _native.nearest(name, list(known))
        hint = f"; hint: did you mean `{guess}`?" if guess else ""
        expected = ", ".join(f"`{each}`" for each in known) or "none, as nothing was said of any"
        raise ConfigurationError(f"unknown {what} `{name}`: expected one of {expected}{hint}")
    patterns: list[str] = []
    tags: list[str] = []
    for each in known[name]:
        text, escape = (each.name, _template.escaped) if isinstance(each, Tag) else (each, _literal)
        try:
            filled = _template.filled(text, values, escape)
        except (KeyError, IndexError, AttributeError) as error:
            raise ConfigurationError(
                f"{what} `{name}`: expected the values of `{text}`, found {_listed(values)}: {error!r}"
            ) from None
        (tags if isinstance(each, Tag) else patterns).append(filled)
    # All that can be done is done, whatever fails.
    found = 0
    failures: list[BaseException] = []
    steps = [functools.partial(invalidate_tags, tags)] if tags else []
    steps.extend(functools.partial(invalidate_pattern, pattern) for pattern in patterns)
    for step in steps:
        try:
            found += step()
        except RetainitError as error:
            failures.append(error)
    if failures:
        _raise(failures)
    return found


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in values) or "none"


def _literal(value: str) -> str:
    """A value in a pattern: as templates of keys have it, with what patterns give a meaning escaped."""
    special = r"\*?["
    return "".join(f"\\{each}" if each in special else each for each in _template.escaped(value))
