"""Backends that do what a test tells them to."""

from __future__ import annotations

import itertools
import os
import weakref
from dataclasses import dataclass, field
from typing import Any

from retainit import _native
from retainit._config import BackendConfig
from retainit._options import Duration, located
from retainit.errors import ConfigurationError
from retainit.testing._script import COMPONENTS, Answers, Call, Failure, Script

_numbers = itertools.count(1)


def _channel() -> str:
    return f"{os.getpid()}-{next(_numbers)}"


@dataclass(frozen=True, kw_only=True)
class RecordingBackend(BackendConfig):
    """A backend that works, records what it is asked, and can be told to do otherwise at any moment.

    ``answers`` is how: ``"blocking"`` keeps its callers waiting, as a database driver does; ``"later"``
    answers from threads of its own, as a network client does; ``"inline"`` answers at once and keeps
    objects, as the memory backend does. Entries of the first two are bytes, as they are outside the
    process. ``max_calls`` is how many calls stay on record (default 10 000; the oldest leave).

    What is told comes as rules. The first rule that concerns a call decides; what no rule concerns is
    done properly. All methods that add a rule take

    - ``operation``: ``"get"``, ``"set"``, ``"delete"`` (also of many), ``"get_many"``, ``"set_many"``,
      ``"delete_many"``, ``"clear"``, ``"add"``, ``"compare_and_set"``, ``"increment"``, ``"touch"``,
      ``"ttl"``, ``"scan"``, ``"count"``, ``"lease_acquire"``, ``"lease_renew"``, ``"lease_release"``,
      ``"ping"``, or ``"*"`` (the default) for all of these; ``"flush"`` and ``"statistics"`` only by
      name;
    - ``times``: how often the rule is followed, for ever by default;
    - ``probability`` and ``seed``: the share of the calls, drawn in the same way in every run;
    - ``key``: a glob that a storage key of the call has to match.

    They raise `ConfigurationError` for a rule that cannot be followed: one that makes an ``"inline"``
    backend wait, say. Rules and records belong to this object; a child of a fork starts with none.
    """

    answers: Answers = "blocking"
    max_calls: int = 10_000
    _name: str = field(default_factory=_channel, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.answers not in COMPONENTS:
            raise ConfigurationError(
                f"option `answers` of `{type(self).__name__}`: expected one of "
                f"{', '.join(f'`{each}`' for each in COMPONENTS)}, found `{self.answers!r}`"
            )
        super().__post_init__()
        script = self._script
        closing = weakref.finalize(self, script.command, "close")
        closing.atexit = False

    @property
    def type(self) -> str:
        return COMPONENTS[self.answers]

    def options(self) -> dict[str, object]:
        return {"channel": self._name, "max_calls": self.max_calls}

    @property
    def _script(self) -> Script:
        return Script(self.type, self._name)

    def _rule(self, outcome: object, operation: str, rest: dict[str, Any]) -> None:
        self._script.command("rule", operation=operation, outcome=outcome, **rest)

    @property
    def calls(self) -> list[Call]:
        """What the backend was asked, oldest first."""
        return self._script.calls()

    @property
    def waiting(self) -> int:
        """How many calls hang or are being delayed at this moment."""
        number: int = self._script.command("recorded")["waiting"]
        return number

    def forget_calls(self) -> None:
        """Takes all calls off the record."""
        self._script.command("forget")

    def wait_for(
        self, operation: str = "*", *, calls: int = 0, waiting: int = 0, timeout: float = 10.0
    ) -> None:
        """Waits until so many ``calls`` of ``operation`` are on record, and so many of any are ``waiting``.

        Raises `TimeoutError` when that is not so after ``timeout`` seconds of real time.
        """
        asked = {"operation": operation, "calls": calls, "waiting": waiting, "seconds": timeout}
        if not self._script.command("until", **asked)["met"]:
            raise TimeoutError(
                f"expected {calls} calls of `{operation}` and {waiting} waiting within {timeout} s, found "
                f"{sum(operation in ('*', call.operation) for call in self.calls)} and {self.waiting}"
            )

    def fail(
        self,
        operation: str = "*",
        *,
        kind: Failure = "retryable",
        message: str = "as the test says",
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on calls fail at once, with an error of this kind and message, and nothing is done."""
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule({"fail": {"kind": kind, "message": message}}, operation, rest)

    def delay(
        self,
        by: Duration,
        operation: str = "*",
        *,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on calls take so long, whatever their deadline. A `FakeClock` moves the delay."""
        seconds = located("argument `by` of `delay`", _native.parse_duration, by)
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule({"delay": {"seconds": seconds}}, operation, rest)

    def late(
        self,
        by: Duration,
        operation: str = "*",
        *,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on calls are answered so long after their deadline (else after they came)."""
        seconds = located("argument `by` of `late`", _native.parse_duration, by)
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule({"late": {"seconds": seconds}}, operation, rest)

    def hang(
        self,
        operation: str = "*",
        *,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on calls are not answered until `release`, `restore`, or the end of the backend."""
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule("hang", operation, rest)

    def garbage(
        self,
        operation: str = "get",
        *,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on reads give bytes that nobody stored."""
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule("garbage", operation, rest)

    def answer_twice(
        self,
        operation: str = "*",
        *,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on calls are answered twice, against the contract; ``answers="later"`` only."""
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule("twice", operation, rest)

    def panic(
        self,
        operation: str = "*",
        *,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        key: str | None = None,
    ) -> None:
        """From now on the plugin panics in calls, and says so on stderr."""
        rest = {"times": times, "probability": probability, "seed": seed, "key": key}
        self._rule("panic", operation, rest)

    def release(self) -> None:
        """Has every call that hangs or is delayed go on, properly. The rules stay for those to come."""
        self._script.command("release")

    def restore(self) -> None:
        """Forgets all rules, those it began with as well, and has every call that waits go on."""
        self._script.command("restore")


@dataclass(frozen=True, kw_only=True)
class FailingBackend(RecordingBackend):
    """A backend whose calls fail, until `restore`: those of ``operation``, with an error of ``kind``."""

    operation: str = "*"
    kind: Failure = "retryable"
    message: str = "as the test says"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fail(self.operation, kind=self.kind, message=self.message)


@dataclass(frozen=True, kw_only=True)
class SlowBackend(RecordingBackend):
    """A backend whose calls of ``operation`` take ``by`` (default: one second), until `restore`."""

    operation: str = "*"
    by: Duration = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.delay(self.by, self.operation)


@dataclass(frozen=True, kw_only=True)
class FlakyBackend(RecordingBackend):
    """A backend of which a share of the calls fails, until `restore`.

    ``probability`` is that share (default: one half). What fails is drawn from ``seed``: the same calls
    in every run.
    """

    operation: str = "*"
    probability: float = 0.5
    seed: int = 0
    kind: Failure = "retryable"
    message: str = "as the test says"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fail(
            self.operation,
            kind=self.kind,
            message=self.message,
            probability=self.probability,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class HangingBackend(RecordingBackend):
    """A backend whose calls of ``operation`` are not answered, until `release` or `restore`."""

    operation: str = "*"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hang(self.operation)
