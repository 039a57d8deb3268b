"""Locks on leases: held by one thread or task of one process at a time, and renewed while they are.

The native side (`retainit._native.Lease`) renews a lease, knows when it was lost, and gives it back when
nobody refers to it any more. Here are who holds which, and how threads and tasks wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from retainit import _native, _registry
from retainit._options import UNSET, Duration, Unset, check_name, located
from retainit._waits import Bell, bell, off_loop
from retainit.errors import ConfigurationError, LockError, LockLostError, LockTimeoutError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Lock"]

#: The shortest ``ttl`` in seconds, as the engine has it (`core/src/lease.rs`).
SHORTEST = 0.1


class _Owner(NamedTuple):
    """A thread, and the task that it runs if it runs one: weakly, as a task may hold what it raised."""

    thread: int
    task: weakref.ref[Any] | None


class _Holding(NamedTuple):
    """One acquisition."""

    owner: _Owner
    lease: _native.Lease
    may_block: bool


# Who holds which leases, by backend and name, to refuse waits that would never end. An entry goes with its
# lease. Without a lock, as a lease may go at any moment: what a race can lose is such a refusal.
_Holders: TypeAlias = "list[tuple[_Owner, weakref.ref[_native.Lease]]]"
_held: weakref.WeakKeyDictionary[_native.Backend, dict[bytes, _Holders]] = weakref.WeakKeyDictionary()


class Lock:
    """A lock of a cache, made by ``Cache.lock``.

    A context manager, synchronous or not; or `acquire` and `release`, `aacquire` and `arelease`. One object
    may be used again and again, and by several threads and tasks, each of which waits for its turn. Not
    reentrant: a thread or task that waits for what it holds itself gets a `LockError` at once.

    It is given back on every way out of the block, by cancellation and at the end of the interpreter too, and
    when nobody refers to it any more. A forked child holds none of its parent's locks.

    Where several tiers are configured it is the farthest that counts, as that is what others share; it must
    have the capability ``lease``, else acquiring raises `ConfigurationError`. Other failures of the backend
    raise `BackendError`: who asks for a lock must not go on without it.
    """

    __slots__ = ("__weakref__", "_holdings", "_name", "_tiers", "_timeout", "_ttl")

    def __init__(
        self,
        tiers: Callable[[], Sequence[_registry.Tier]],
        name: str,
        ttl: Duration,
        timeout: Duration | None,
    ) -> None:
        check_name(name, "name of a lock")
        self._tiers = tiers
        self._name = name
        self._ttl = _ttl(ttl)
        self._timeout = _timeout(timeout)
        self._holdings: list[_Holding] = []

    @property
    def name(self) -> str:
        """What is locked."""
        return self._name

    @property
    def fence(self) -> int:
        """A number that grows with every acquisition of the name, by whomever.

        To be passed on with what is written under the lock, so that who is written to can refuse a holder
        that was asleep while another took its place: whatever carries less than the greatest seen so far.

        Raises `LockError` where the lock is not held.
        """
        return self._holding().lease.fence

    @property
    def lost(self) -> bool:
        """Whether it was lost while it was held: renewing it failed, or came too late. Never `False` again.

        Raises `LockError` where the lock is not held.
        """
        return self._holding().lease.lost

    def acquire(self, timeout: Duration | Unset | None = UNSET) -> int:
        """Waits for the lock on this thread, and gives its `fence`.

        ``timeout`` takes the place of the lock's. Raises `LockTimeoutError` when it has passed.
        """
        seconds = self._timeout if timeout is UNSET else _timeout(timeout)
        owner = _owner()
        backend, name = self._place()
        _refuse_circle(self._name, backend, name, lambda other: other.thread == owner.thread)
        lease = _native.acquire_lease(backend, name, self._ttl, seconds)
        return self._got(lease, owner, backend, name, seconds)

    async def aacquire(self, timeout: Duration | Unset | None = UNSET) -> int:
        """As `acquire`, while other tasks of the loop (asyncio or trio) go on."""
        seconds = self._timeout if timeout is UNSET else _timeout(timeout)
        owner = _owner()
        backend, name = self._place()
        _refuse_circle(self._name, backend, name, lambda other: other == owner)
        rung = bell()
        wait = _native.LeaseWait(backend, name, self._ttl, seconds, rung.ring)
        lease = await _awaited(wait, rung, _may_block(backend))
        return self._got(lease, owner, backend, name, seconds)

    def release(self) -> None:
        """Gives the lock back. Raises `LockLostError` if it was lost before, `LockError` if it is not held.

        It is the caller's own that is given back, or else the only one that is held by this object.
        """
        self._left(self._drop().lease.release())

    async def arelease(self) -> None:
        """As `release`, while other tasks of the loop go on."""
        holding = self._drop()
        self._left(await off_loop(holding.may_block, holding.lease.release, shielded=True))

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.release()
        except LockLostError as lost:
            if error is None:
                raise
            _tell(lost, error)

    async def __aenter__(self) -> Lock:
        await self.aacquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.arelease()
        except LockLostError as lost:
            if error is None:
                raise
            _tell(lost, error)

    def __repr__(self) -> str:
        return f"<lock `{self._name}`{', held' if self._holdings else ''}>"

    def _place(self) -> tuple[_native.Backend, bytes]:
        tier = self._tiers()[-1]
        backend = tier.backend
        if "lease" not in backend.capabilities:
            has = ", ".join(f"`{each}`" for each in sorted(backend.capabilities))
            raise ConfigurationError(
                f"lock `{self._name}`: expected a backend with the capability `lease`, found "
                f"`{backend.name}` of type `{backend.type}`, which has {has}; hint: "
                f'`Cache(backend="disk")` locks between processes, `Cache(backend="memory")` within one'
            )
        namespace = _registry.defaults().namespace if tier.namespace is None else tier.namespace
        parts = ("lock", namespace or "", self._name)
        return backend, b"\0".join(part.encode("utf-8", "surrogatepass") for part in parts)

    def _got(
        self,
        lease: _native.Lease | None,
        owner: _Owner,
        backend: _native.Backend,
        name: bytes,
        seconds: float | None,
    ) -> int:
        if lease is None:
            within = f" within {seconds:g} s" if seconds else ""
            raise LockTimeoutError(f"lock `{self._name}` was not free{within}")
        holding = _Holding(owner, lease, _may_block(backend))
        try:
            _note(backend, name, owner, lease)
            self._holdings.append(holding)
        except BaseException:
            # An interrupt: nobody is told that it is held.
            if holding in self._holdings:
                self._holdings.remove(holding)
            lease.release()
            raise
        return lease.fence

    def _holding(self) -> _Holding:
        owner = _owner()
        holdings = list(self._holdings)
        own = [each for each in holdings if each.owner == owner] or holdings
        if not own:
            raise LockError(f"lock `{self._name}`: expected it to be held, found it free")
        if own is holdings and len(holdings) > 1:
            raise LockError(
                f"lock `{self._name}`: expected a thread or task that holds it, found another; "
                f"hint: make a lock for each with `cache.lock`"
            )
        return own[-1]

    def _drop(self) -> _Holding:
        holding = self._holding()
        self._holdings.remove(holding)
        return holding

    def _left(self, was_held: bool) -> None:
        if not was_held:
            raise LockLostError(
                f"lock `{self._name}` was lost while it was held: somebody else may have had it since; "
                f"hint: have `fence` checked by what is written to, or raise `ttl`"
            )


def _tell(lost: LockLostError, error: BaseException) -> None:
    """Adds the loss to what is on its way already."""
    if sys.version_info >= (3, 11):
        error.add_note(str(lost))


async def _awaited(wait: _native.LeaseWait, rung: Bell, may_block: bool) -> _native.Lease | None:
    try:
        while True:
            lease = await off_loop(may_block, wait.attempt, discard=_let_go)
            if lease is not None:
                return lease
            pause = wait.pause()
            if pause is None:
                return None
            await rung.wait(pause)
    finally:
        wait.leave()


def _let_go(lease: _native.Lease | None) -> None:
    if lease is not None:
        lease.let_go()


def _may_block(backend: _native.Backend) -> bool:
    return "inline" not in backend.capabilities


def _note(backend: _native.Backend, name: bytes, owner: _Owner, lease: _native.Lease) -> None:
    names = _held.setdefault(backend, {})
    entry = owner, weakref.ref(lease, lambda _: _forget(names, name, entry))
    names.setdefault(name, []).append(entry)


def _forget(
    names: dict[bytes, _Holders], name: bytes, entry: tuple[_Owner, weakref.ref[_native.Lease]]
) -> None:
    holders = names.get(name, [])
    with contextlib.suppress(ValueError):
        holders.remove(entry)
    if not holders:
        names.pop(name, None)


def _refuse_circle(
    called: str, backend: _native.Backend, name: bytes, is_own: Callable[[_Owner], bool]
) -> None:
    """Refuses to wait for what only goes on once the wait is over."""
    for owner, known in list(_held.get(backend, {}).get(name, ())):
        lease = known()
        if is_own(owner) and lease is not None and not lease.lost:
            raise LockError(
                f"lock `{called}`: expected another thread or task to hold it, found that this one does: "
                f"waiting for it would never end; hint: locks are not reentrant"
            )


def _owner() -> _Owner:
    task: Any = None
    try:
        task = asyncio.current_task()
    except RuntimeError:
        trio: Any = sys.modules.get("trio")
        if trio is not None:
            with contextlib.suppress(RuntimeError):
                task = trio.lowlevel.current_task()
    return _Owner(threading.get_ident(), None if task is None else weakref.ref(task))


def _ttl(ttl: Duration) -> float:
    subject = "option `ttl` of `lock`"
    seconds = located(subject, _native.parse_duration, ttl)
    if seconds < SHORTEST:
        raise ConfigurationError(
            f"{subject}: expected at least {SHORTEST:g} s, as it is renewed in a third of it, found `{ttl}`"
        )
    return seconds


def _timeout(timeout: Duration | Unset | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout == 0:
        return 0.0
    return located("option `timeout` of `lock`", _native.parse_duration, timeout)


def _after_fork_in_child() -> None:
    # Those who hold leases are the parent's.
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
