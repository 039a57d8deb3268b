"""The types of decorators and cached functions, for type checkers and annotations.

What runs is `retainit._native.Function` with the methods of `retainit._methods`, for functions and coroutine
functions alike. Nothing here is imported but by who asks for one of its names.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypedDict, TypeVar, overload

if TYPE_CHECKING:
    from typing_extensions import Self

    from retainit._config import BackendSpec
    from retainit._exceptions import Exceptions
    from retainit._function import Missing
    from retainit._info import CacheInfo
    from retainit._options import Duration, Size, Unset
    from retainit._serializers import Serializer
    from retainit._storage import Key, PickleMode, PicklePolicy

__all__ = [
    "CachedAsyncGeneratorFunction",
    "CachedAsyncGeneratorMethod",
    "CachedCoroutineFunction",
    "CachedCoroutineMethod",
    "CachedFunction",
    "CachedGeneratorFunction",
    "CachedGeneratorMethod",
    "CachedMethod",
    "Decorator",
    "RetainOptions",
]

P = ParamSpec("P")
#: Parameters of a bound method: those of its function, less the first.
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
#: What a generator yields.
Y = TypeVar("Y")
C = TypeVar("C", bound="classmethod[Any, ..., Any]")


class RetainOptions(TypedDict, total=False):
    """The options of `retain`, which documents them."""

    backend: BackendSpec | Sequence[BackendSpec] | None
    ttl: Duration | Callable[..., Duration | Unset | None] | Unset | None
    jitter: float
    key_builder: str | Callable[..., str] | None
    tags: Sequence[str | Callable[..., Sequence[str]]] | Callable[..., Sequence[str]] | None
    exclude_args: Sequence[str]
    version: str | int
    namespace: str | None
    copy: Literal["reference", "shallow", "deep"]
    strict: bool
    materialize: bool
    cache_none: bool
    cache_if: Callable[[Any], object] | None
    cache_exceptions: Exceptions | None
    stale_ttl: Duration | None
    stale_if_error: Duration | None
    refresh_ahead: float | Literal["auto"] | None
    soft_timeout: Duration | None
    hard_timeout: Duration | None
    run_in_thread: bool
    lease: bool | None
    serializer: str | Serializer | Unset
    compression: bool | str | Unset
    compression_threshold: Size | Unset
    encryption: bool | Unset
    encryption_key: Key | Sequence[Key] | Unset
    integrity: bool | Literal["signed"] | Unset
    pickle: PickleMode | PicklePolicy | Unset


class _Answers(Protocol[P]):
    """What is answered at once, of coroutine functions too."""

    __name__: str
    __qualname__: str

    def cache_info(self) -> CacheInfo: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> str: ...


class _Operations(_Answers[P], Protocol[P, R]):
    @property
    def __wrapped__(self) -> Callable[P, R]: ...

    def cache_get(self, /, *args: P.args, **kwargs: P.kwargs) -> R | Missing: ...
    def cache_set(self, value: R, /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def cache_delete(self, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def cache_clear(self) -> None: ...
    def cache_refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def cache_many(
        self, calls: Iterable[Any], *, batch: Callable[[list[Any]], Sequence[R]] | None = None
    ) -> list[R]: ...


class _CoroutineOperations(_Answers[P], Protocol[P, R]):
    @property
    def __wrapped__(self) -> Callable[P, Coroutine[Any, Any, R]]: ...

    async def cache_get(self, /, *args: P.args, **kwargs: P.kwargs) -> R | Missing: ...
    async def cache_set(self, value: R, /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    async def cache_delete(self, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    async def cache_clear(self) -> None: ...
    async def cache_refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def cache_many(
        self,
        calls: Iterable[Any],
        *,
        batch: Callable[[list[Any]], Sequence[R] | Awaitable[Sequence[R]]] | None = None,
    ) -> list[R]: ...


class CachedFunction(_Operations[P, R], Protocol[P, R]):
    """A cached function of parameters `P` that returns `R`: ``CachedFunction[[int], str]``."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: object, owner: type | None = None, /
    ) -> CachedMethod[P, Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...


class CachedCoroutineFunction(_CoroutineOperations[P, R], Protocol[P, R]):
    """A cached coroutine function of parameters `P` whose calls are awaited for `R`."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...

    @overload
    def __get__(
        self: CachedCoroutineFunction[Concatenate[S, Q], R], instance: object, owner: type | None = None, /
    ) -> CachedCoroutineMethod[P, Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...


class CachedMethod(_Operations[P, R], Protocol[P, Q, R]):
    """A cached function looked up on a class or an object.

    Type checkers cannot tell which of methods, class methods and static methods it is, so that calls of it
    are accepted with the function's first argument and without. As with `functools`, only calls leave it
    out: ``shop.price("tea")`` goes with ``shop.price.cache_delete(shop, "tea")``.
    """

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> R: ...


class CachedCoroutineMethod(_CoroutineOperations[P, R], Protocol[P, Q, R]):
    """A cached coroutine function looked up on a class or an object; see `CachedMethod`."""

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> Coroutine[Any, Any, R]: ...


class _GeneratorOperations(_Answers[P], Protocol[P, Y]):
    @property
    def __wrapped__(self) -> Callable[P, Iterable[Y]]: ...

    def cache_get(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Y] | Missing: ...
    def cache_set(self, values: Iterable[Y], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def cache_delete(self, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def cache_clear(self) -> None: ...
    def cache_refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Y]: ...
    def cache_many(
        self, calls: Iterable[Any], *, batch: Callable[[list[Any]], Sequence[Iterable[Y]]] | None = None
    ) -> list[Iterator[Y]]: ...


class _AsyncGeneratorOperations(_Answers[P], Protocol[P, Y]):
    @property
    def __wrapped__(self) -> Callable[P, AsyncIterable[Y]]: ...

    async def cache_get(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Y] | Missing: ...
    async def cache_set(self, values: Iterable[Y], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    async def cache_delete(self, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    async def cache_clear(self) -> None: ...
    async def cache_refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Y]: ...
    async def cache_many(
        self,
        calls: Iterable[Any],
        *,
        batch: Callable[[list[Any]], Sequence[Iterable[Y]] | Awaitable[Sequence[Iterable[Y]]]] | None = None,
    ) -> list[AsyncIterator[Y]]: ...


class CachedGeneratorFunction(_GeneratorOperations[P, Y], Protocol[P, Y]):
    """A cached generator function of parameters `P` that yields `Y`, kept whole."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Y]: ...

    @overload
    def __get__(
        self: CachedGeneratorFunction[Concatenate[S, Q], Y], instance: object, owner: type | None = None, /
    ) -> CachedGeneratorMethod[P, Q, Y]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...


class CachedAsyncGeneratorFunction(_AsyncGeneratorOperations[P, Y], Protocol[P, Y]):
    """A cached asynchronous generator function of parameters `P` that yields `Y`, kept whole."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Y]: ...

    @overload
    def __get__(
        self: CachedAsyncGeneratorFunction[Concatenate[S, Q], Y],
        instance: object,
        owner: type | None = None,
        /,
    ) -> CachedAsyncGeneratorMethod[P, Q, Y]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...


class CachedGeneratorMethod(_GeneratorOperations[P, Y], Protocol[P, Q, Y]):
    """A cached generator function looked up on a class or an object; see `CachedMethod`."""

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Y]: ...
    @overload
    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> Iterator[Y]: ...


class CachedAsyncGeneratorMethod(_AsyncGeneratorOperations[P, Y], Protocol[P, Q, Y]):
    """A cached asynchronous generator function looked up on a class or an object; see `CachedMethod`."""

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Y]: ...
    @overload
    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> AsyncIterator[Y]: ...


class Decorator(Protocol):
    """What `retain` and `lru_cache` give when they are called with options alone."""

    @overload
    def __call__(self, function: C, /) -> C: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine is a result too, but the nearer type wins
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutineFunction[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # as are iterators, which can only be cached whole
        self, function: Callable[P, AsyncIterable[Y]], /
    ) -> CachedAsyncGeneratorFunction[P, Y]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[Y]], /
    ) -> CachedGeneratorFunction[P, Y]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
