"""Switching caching off for a while, for one task or thread."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import ParamSpec, TypeVar, cast

from retainit import _native
from retainit.errors import ConfigurationError

__all__ = ["disabled", "is_disabled"]

P = ParamSpec("P")
R = TypeVar("R")


class _Scope:
    """One block in which caching is off. It ends with the block, also for tasks begun inside it."""

    __slots__ = ("active", "owner")

    def __init__(self, owner: disabled) -> None:
        self.owner = owner
        self.active = True


_scopes: ContextVar[tuple[_Scope, ...]] = ContextVar("retainit_disabled", default=())

# How many blocks are open in the whole process. While there is none, calls look at a single word.
_open = 0
_lock = threading.Lock()


def is_disabled() -> bool:
    """Whether caching is off for the calling task or thread."""
    return any(scope.active for scope in _scopes.get())


class disabled:
    """Runs cached functions as if they were not: nothing is read, nothing is stored.

    As a context manager, synchronous or not, and as a decorator of functions and coroutine functions.
    Local to the task or thread, with what it calls and awaits::

        with retainit.disabled():
            fresh = report(2026)
    """

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        # Blocks of this very object, for those whose end runs in another context than their start.
        self._unfinished: list[_Scope] = []

    def __enter__(self) -> None:
        scope = _Scope(self)
        self._unfinished.append(scope)
        _scopes.set((*_scopes.get(), scope))
        _count(1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        scopes = _scopes.get()
        scope = next((each for each in reversed(scopes) if each.owner is self and each.active), None)
        if scope is None:
            scope = self._unfinished[-1]
        self._unfinished.remove(scope)
        scope.active = False
        _scopes.set(tuple(each for each in scopes if each.active))
        _count(-1)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorates a function or coroutine function: caching is off while it runs."""
        if not callable(function):
            raise ConfigurationError(f"`disabled()`: expected a function, found `{function!r}`")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"`disabled()`: expected a function or coroutine function, found the generator "
                f"function `{function.__qualname__}`; hint: use `with disabled():` inside it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaiting(*args: P.args, **kwargs: P.kwargs) -> object:
                with disabled():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", awaiting)

        @functools.wraps(function)
        def calling(*args: P.args, **kwargs: P.kwargs) -> R:
            with disabled():
                return function(*args, **kwargs)

        return calling


def _count(change: int) -> None:
    global _open
    with _lock:
        before = _open
        _open += change
        if (before == 0) != (_open == 0):
            _native.set_attention(_native.ATTENTION_DISABLED, _open > 0)


def _after_fork_in_child() -> None:
    # The thread that held the lock may not exist here.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
