"""`retain`: the decorator, its options and their checks."""

from __future__ import annotations

import enum
import functools

from retainit._options import UNSET, check_duration
from retainit.errors import ConfigurationError

# As `typing` has it, which is not imported here: importing this package is to be quick.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Sequence
    from typing import Any, Final, Literal, overload

    from typing_extensions import Unpack

    from retainit._config import BackendSpec
    from retainit._exceptions import Exceptions
    from retainit._options import Duration, Size, Unset
    from retainit._serializers import Serializer
    from retainit._storage import Key, PickleMode, PicklePolicy
    from retainit._types import (
        C,
        CachedAsyncGeneratorFunction,
        CachedCoroutineFunction,
        CachedFunction,
        CachedGeneratorFunction,
        Decorator,
        P,
        R,
        RetainOptions,
        Y,
    )

__all__ = ["COPIES", "MISSING", "Missing", "retain"]


class Missing(enum.Enum):
    """The type of `MISSING`."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return False


#: What `cache_get` returns where nothing is kept.
MISSING: Final = Missing.MISSING

#: What `copy` may be.
COPIES = ("reference", "shallow", "deep")

if TYPE_CHECKING:

    @overload
    def retain(function: C, /, **options: Unpack[RetainOptions]) -> C: ...
    @overload
    def retain(  # type: ignore[overload-overlap]  # a coroutine is a result too, but the nearer type wins
        function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[RetainOptions]
    ) -> CachedCoroutineFunction[P, R]: ...
    @overload
    def retain(  # type: ignore[overload-overlap]  # as are iterators, which can only be cached whole
        function: Callable[P, AsyncIterable[Y]], /, **options: Unpack[RetainOptions]
    ) -> CachedAsyncGeneratorFunction[P, Y]: ...
    @overload
    def retain(  # type: ignore[overload-overlap]
        function: Callable[P, Iterator[Y]], /, **options: Unpack[RetainOptions]
    ) -> CachedGeneratorFunction[P, Y]: ...
    @overload
    def retain(function: Callable[P, R], /, **options: Unpack[RetainOptions]) -> CachedFunction[P, R]: ...
    @overload
    def retain(**options: Unpack[RetainOptions]) -> Decorator: ...


def retain(
    function: Any = None,
    /,
    *,
    backend: BackendSpec | Sequence[BackendSpec] | None = None,
    ttl: Duration | Callable[..., Duration | Unset | None] | Unset | None = UNSET,
    jitter: float = 0.0,
    key_builder: str | Callable[..., str] | None = None,
    tags: Sequence[str | Callable[..., Sequence[str]]] | Callable[..., Sequence[str]] | None = None,
    exclude_args: Sequence[str] = (),
    version: str | int = "",
    namespace: str | None = None,
    copy: Literal["reference", "shallow", "deep"] = "reference",
    strict: bool = False,
    materialize: bool = False,
    cache_none: bool = True,
    cache_if: Callable[[Any], object] | None = None,
    cache_exceptions: Exceptions | None = None,
    stale_ttl: Duration | None = None,
    stale_if_error: Duration | None = None,
    refresh_ahead: float | Literal["auto"] | None = None,
    soft_timeout: Duration | None = None,
    hard_timeout: Duration | None = None,
    run_in_thread: bool = False,
    lease: bool | None = None,
    serializer: str | Serializer | Unset = UNSET,
    compression: bool | str | Unset = UNSET,
    compression_threshold: Size | Unset = UNSET,
    encryption: bool | Unset = UNSET,
    encryption_key: Key | Sequence[Key] | Unset = UNSET,
    integrity: bool | Literal["signed"] | Unset = UNSET,
    pickle: PickleMode | PicklePolicy | Unset = UNSET,
) -> Any:
    """Keeps what a function returns, and gives it back for equal arguments.

    Decorates functions, coroutine functions, methods, class and static methods, and other callables, as
    ``@retain`` or with options as ``@retain(ttl="1h")``. Signature, docstring and type stay the function's.
    Backends are found at the first call, so that a function may be decorated before anything is configured.

    Args:
        backend: Where results are kept: the name of a registered backend, the name of a backend type
            (``"memory"``, ``"disk"``), a configuration such as ``DiskConfig()``, or a list of these, nearest
            first. Default: the default backend, which is memory unless another is configured.
        ttl: How long a result is kept: seconds above zero, a ``timedelta``, or text such as ``"90s"``,
            ``"2h30m"``, ``"7d"``. `None` keeps it for ever. Or a function that is called with the result
            and the arguments of the call, and gives one of these, or `UNSET` for the default.
            Default: the backend's own, else what `init` says, else for ever.
        jitter: Share of ``ttl``, from 0 to 1, by which each result's is randomly moved either way, so that
            what was stored together does not expire together. Default: 0.
        key_builder: Makes the key of a call: a template such as ``"user:{user_id}"``, or a function that is
            called with the function and the bound arguments, defaults filled in, positional-only
            and ``*args`` by position and all others by keyword, and returns text. Default: all arguments.
        tags: Names under which results are invalidated together (`invalidate_tag`): a list of names and of
            templates such as ``"user:{user_id}"``, or a function that is called with the result and the
            arguments of the call and gives a list of names; or both in one list. Default: none.
        exclude_args: Names of parameters that are no part of the key. Default: none.
        version: Text or a number that is part of every key: raise it when results change their meaning.
            Default: empty.
        namespace: Text that separates applications that share a store. Default: the backend's own, else what
            `init` says, else empty.
        copy: What a hit in memory returns: ``"reference"``, the object itself; ``"shallow"`` or ``"deep"``,
            a copy of it. Default: ``"reference"``.
        strict: Whether a failing store, or an argument that has no key, raises. If not, the function runs
            uncached, `cache_info` counts failures, and one warning tells of the argument. Default: `False`.
        materialize: Of a generator function, asynchronous or not: all that it gives is kept, as a list, and
            each call returns an iterator over that, whose first step waits until the function has come to its
            end. What is sent to it, and what it returns, is lost. Default: `False`, which refuses generator
            functions.
        cache_none: Whether `None` is a result like any other, or is not kept. Default: `True`.
        cache_if: Is called with a result, and says whether it is kept; `cache_set` does not ask.
            Default: every result is.
        cache_exceptions: Exception types that are kept in place of a result and raised by hits, with those
            derived from them: a type, a tuple of types, or a mapping of types to how long (as ``ttl``).
            Every hit raises a copy without traceback and cause. Default: none are.
        stale_ttl: For how long after it has expired a result is served, while one run in the background makes
            it anew. Default: not at all.
        stale_if_error: For how long after it has expired a result is served where the function raises an
            exception or takes too long. Default: not at all.
        refresh_ahead: Share of ``ttl``, between 0 and 1, after which a hit starts a run in the background; or
            ``"auto"``: shortly before the result expires, the earlier the longer the function takes,
            at random moments, so that hosts do not run it together. Default: never.
        soft_timeout: How long a caller waits for the function where ``stale_if_error`` has a result to fall
            back on. The run goes on, and its result is kept. Default: as long as it takes.
        hard_timeout: How long a load may take in any case. Its callers get the result to fall back on, or
            `LoadTimeoutError`. What the function returns later is kept if it takes no longer than twice
            as long. Default: as long as it takes.
        run_in_thread: Whether a synchronous function runs in a thread of its own, with the caller's context
            variables, which the timeouts need. Default: `False`.
        lease: Whether one process at a time runs the function for a key, while the others wait for its
            result: through the farthest of the backends that is shared and has leases, which must be there
            for `True`. Default: where such a backend is shared with other machines or users.
        serializer: How results become bytes, outside the process: ``"auto"``, which keeps every value
            exactly; ``"msgpack"``, ``"json"``, ``"text"``, ``"bytes"``, ``"numpy"``, ``"arrow"``,
            ``"parquet"``, ``"csv"``, ``"pandas"`` and ``"polars"`` (which mean Parquet), ``"orjson"``,
            ``"protobuf"``, ``"pickle"``; a name that `register_serializer` or a plugin gives; or an
            object with ``serialize`` and ``deserialize``. Default, for this and all that follow: the
            backend's own, else ``"auto"``.
        compression: `True` for zstd; ``"auto"``, which leaves values as they are where they are read in
            place; the name of a compressor, ``"zstd:9"`` with a level, ``"zstd+dictionary"`` trained
            with the values; or `False`. Default: `False`.
        compression_threshold: Values of fewer bytes stay as they are, as do those that hardly get
            smaller. Default: 1 KiB.
        encryption: Whether entries are sealed with AES-256-GCM. Default: whether there is a key.
        encryption_key: 32 bytes, text that begins with ``hex:``, ``base64:`` or ``env:`` (the name of an
            environment variable), a function that gives one of these, or a list: the first seals, any
            opens. Default: ``"env:RETAINIT_ENCRYPTION_KEY"``, where a key is needed.
        integrity: `True` for a checksum, ``"signed"`` for a signature (HMAC-SHA-256) by the key, `False`
            for neither. Default: `True`.
        pickle: When results may be pickled that have no other form: ``"never"``; ``"signed"``, where
            entries are signed or encrypted; ``"local"``, there and where only this user of this machine
            can write; ``"always"``; or a `PicklePolicy`. Default: ``"local"``.

    Returns:
        The cached function, which has ``cache_info``, ``cache_parameters``, ``cache_key``, ``cache_get``,
        ``cache_set``, ``cache_delete``, ``cache_clear``, ``cache_refresh``, ``cache_many`` and
        ``__wrapped__``; or without a function, a decorator.

    Raises:
        ConfigurationError: An option is wrong, or what is decorated is no function that returns its result.
            A backend that is unknown or misconfigured raises at the first call.
        PluginError: At the first call, if the backend's plugin was refused.
        LoadTimeoutError: At a call, with ``hard_timeout``.
        BackendError, SerializationError, UnkeyableError: At a call, and only with ``strict=True``.
    """
    options: dict[str, Any] = {
        "backend": backend,
        "ttl": ttl,
        "jitter": jitter,
        "key_builder": key_builder,
        "tags": tags,
        "exclude_args": exclude_args,
        "version": version,
        "namespace": namespace,
        "copy": copy,
        "strict": strict,
        "materialize": materialize,
        "cache_none": cache_none,
        "cache_if": cache_if,
        "lease": lease,
    }
    freshness = {
        "cache_exceptions": cache_exceptions,
        "stale_ttl": stale_ttl,
        "stale_if_error": stale_if_error,
        "refresh_ahead": refresh_ahead,
        "soft_timeout": soft_timeout,
        "hard_timeout": hard_timeout,
        "run_in_thread": run_in_thread,
    }
    if any(value is not None and value is not False for value in freshness.values()):
        # Imported where it is used, as below.
        from retainit import _freshness

        options.update(freshness)
        _freshness.check(options)
    storage = {
        "serializer": serializer,
        "compression": compression,
        "compression_threshold": compression_threshold,
        "encryption": encryption,
        "encryption_key": encryption_key,
        "integrity": integrity,
        "pickle": pickle,
    }
    if any(value is not UNSET for value in storage.values()):
        # Imported where it is used: importing this package is to be quick.
        from retainit._storage import check

        options["storage"] = check(storage, "`retain`")
    _check(options)
    if tags is not None:
        from retainit import _tags

        _tags.check(options)
    if function is None:
        return functools.partial(_retain, options=options)
    return _retain(function, options)


def _retain(function: Any, options: dict[str, Any]) -> Any:
    # Imported where it is used, for what it needs takes longer to import than all else here.
    from retainit._cached import cached

    for wrapper in (staticmethod, classmethod):
        if isinstance(function, wrapper):
            return wrapper(_retain(function.__func__, options))
    return cached(function, options)


def _check(options: dict[str, Any]) -> None:
    if not callable(options["ttl"]):
        check_duration(options["ttl"], "option `ttl` of `retain`")
    for name in ("cache_none", "materialize"):
        if not isinstance(options[name], bool):
            raise ConfigurationError(
                f"option `{name}` of `retain`: expected `True` or `False`, found `{options[name]!r}`"
            )
    if options["lease"] is not None and not isinstance(options["lease"], bool):
        raise ConfigurationError(
            f"option `lease` of `retain`: expected `True`, `False` or `None`, found `{options['lease']!r}`"
        )
    if options["cache_if"] is not None and not callable(options["cache_if"]):
        raise ConfigurationError(
            f"option `cache_if` of `retain`: expected a function, found `{options['cache_if']!r}`"
        )
    jitter = options["jitter"]
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
        raise ConfigurationError(
            f"option `jitter` of `retain`: expected a share from 0 to 1, found `{jitter!r}`"
        )
    if options["copy"] not in COPIES:
        expected = ", ".join(f'`"{name}"`' for name in COPIES)
        raise ConfigurationError(
            f"option `copy` of `retain`: expected one of {expected}, found `{options['copy']!r}`"
        )
    if isinstance(options["exclude_args"], str):
        raise ConfigurationError(
            f"option `exclude_args` of `retain`: expected a list of names, "
            f"found `{options['exclude_args']!r}`; hint: write `[{options['exclude_args']!r}]`"
        )
    builder = options["key_builder"]
    if builder is not None and not isinstance(builder, str) and not callable(builder):
        raise ConfigurationError(
            f"option `key_builder` of `retain`: expected a function or a template, found `{builder!r}`"
        )
    namespace = options["namespace"]
    if namespace is not None and not isinstance(namespace, str):
        raise ConfigurationError(f"option `namespace` of `retain`: expected text, found `{namespace!r}`")
    if not isinstance(options["version"], (str, int)):
        raise ConfigurationError(
            f"option `version` of `retain`: expected text or a number, found `{options['version']!r}`"
        )
