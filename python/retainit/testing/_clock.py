"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from retainit import _native
from retainit._options import Duration, located
from retainit.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_one = threading.Lock()


class FakeClock:
    """Stops the clocks that retainit reads, in the whole process, until the block is left.

    ::

        with FakeClock() as clock:
            price("a")
            clock.advance("10m")  # an entry with a ttl of ten minutes is expired now

    Entries expire, leases end, calls run into timeouts and delays of testing backends pass by `advance`
    alone. ``time.time`` and event loops go on as ever. When the block is left, the clocks run again, as
    far ahead of the real ones as they were moved: they never go back, because an entry would then live
    twice.

    There is one clock in a process, so a second one inside the block is refused with `ConfigurationError`, in
    other threads too.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._passed = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """What entering the block does, for where there is none."""
        if not _one.acquire(blocking=False):
            raise ConfigurationError(
                "`FakeClock`: expected no other one in this process, found one that is in use; "
                "hint: use the outer block's clock"
            )
        self._is_held = True
        self._passed = 0.0
        _native.freeze_clock()

    def stop(self) -> None:
        """What leaving the block does. Raises `ConfigurationError` where the clock is not in use."""
        self._held("stop")
        self._is_held = False
        _native.thaw_clock()
        _one.release()

    @property
    def now(self) -> float:
        """Seconds that passed since the block was entered: those that `advance` was told."""
        return self._passed

    def advance(self, by: Duration) -> None:
        """Moves the clocks forward: seconds, a `datetime.timedelta`, or text such as ``"10m"``.

        Raises `ConfigurationError` outside the block and for what is no duration.
        """
        self._held("advance")
        passed = located("argument of `FakeClock.advance`", _native.parse_duration, by)
        _native.advance_clock(passed)
        self._passed += passed

    def _held(self, method: str) -> None:
        if not self._is_held:
            raise ConfigurationError(
                f"`FakeClock.{method}`: expected a clock in use, found one outside its `with` block"
            )
