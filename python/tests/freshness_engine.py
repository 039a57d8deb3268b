"""The engine's side of `test_freshness_model`: callers that are threads or tasks, runs that wait at gates."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import itertools
import threading
import time
from typing import Any

from freshness_model import Model, Rules

from retainit import _native, retain
from retainit.errors import LoadTimeoutError

#: Seconds after which something that has to happen is said not to.
PATIENCE = 5.0

who: contextvars.ContextVar[int] = contextvars.ContextVar("who", default=-1)


class Failed(Exception):
    """The function fails."""


class Killed(BaseException):
    """The function is left by what is no `Exception`."""


class Run:
    """A run of the function, which waits to be let go."""

    def __init__(self, gate: Any, owner: Any) -> None:
        self.caller = who.get()
        self.gate = gate
        self.owner = owner
        self.verdict: tuple[str, Any] = ("ok", ("the end", False))

    def end(self) -> Any:
        how, what = self.verdict
        if how == "fail":
            raise Failed(what)
        if how == "kill":
            raise Killed(what)
        return what


class Engine:
    """A cached function, those who call it, and its runs."""

    def __init__(self, rules: Rules, options: dict[str, Any]) -> None:
        self.runs: dict[tuple[int, int], Run] = {}
        self.counts: collections.Counter[int] = collections.Counter()
        self.outcomes: dict[int, tuple[Any, ...]] = {}
        self.closing = False
        self.lock = threading.Lock()
        self.cached = retain(**options, cache_if=lambda value: value[-1])(self.function())

    def function(self) -> Any:
        raise NotImplementedError

    def begin(self, key: int, gate: Any, owner: Any) -> Run:
        run = Run(gate, owner)
        with self.lock:
            self.counts[key] += 1
            self.runs[key, self.counts[key]] = run
        if self.closing:
            gate.set()
        return run

    def leader(self, key: int, number: int, expected: int) -> int:
        """Who runs the function, of those who may."""
        return self.runs[key, number].caller

    def let_go(self, key: int, number: int, verdict: tuple[str, Any]) -> None:
        run = self.runs[key, number]
        run.verdict = verdict
        run.gate.set()

    def noted(self, name: int, error: BaseException) -> None:
        if isinstance(error, Failed):
            self.outcomes[name] = ("raised", error.args[0])
        elif isinstance(error, Killed):
            self.outcomes[name] = ("killed", error.args[0])
        elif isinstance(error, asyncio.CancelledError):
            self.outcomes[name] = ("cancelled",)
        elif isinstance(error, LoadTimeoutError):
            self.outcomes[name] = ("timeout",)
        else:
            self.outcomes[name] = ("unexpected", repr(error))

    async def differs(self, model: Model) -> str:
        """What the engine has still to do to be where the model is; what it must not have done fails."""
        expected = {name: caller.outcome for name, caller in model.callers.items() if caller.outcome}
        for name, outcome in self.outcomes.items():
            assert expected.get(name) == outcome, f"caller {name} got {outcome}, not {expected.get(name)}"
        for key, count in self.counts.items():
            assert count <= model.runs[key], f"run {count} of {key} began, expected {model.runs[key]}"
        if self.outcomes != expected:
            return f"expected outcomes {expected}, found {self.outcomes}"
        if +self.counts != +model.runs:
            return f"expected runs {model.runs}, found {self.counts}"
        under_way = {(flight.key, flight.run) for flight in model.all()}
        lingering = [key for key, run in self.runs.items() if key not in under_way and self.is_alive(run)]
        if lingering:
            return f"runs that have not ended: {lingering}"
        busy = self.busy(under_way)
        if busy:
            return f"in the background: {busy}"
        for key, flight in model.flights.items():
            # A leader's own load is waited for where it runs in a thread or task of its own, and time counts.
            waiting = len(flight.joined) + (flight.leader is not None and model.rules.limited())
            # Tasks that were cancelled may still be counted.
            native = _native.key(self.cached, (key,))
            assert native is not None
            if _native.waiting(native) < waiting:
                return f"{waiting} callers are to wait for the load of {key}"
        info = self.cached.cache_info()
        counted = (info.hits, info.misses, info.stale, info.errors)
        counts = (model.hits, model.misses, model.stale, 0)
        if counted != counts:
            return f"hits, misses, stale, errors: expected {counts}, found {counted}"
        return ""

    def is_alive(self, run: Run) -> bool:
        raise NotImplementedError

    def busy(self, under_way: set[tuple[int, int]]) -> list[Any]:
        """What goes on beside callers and runs under way."""
        raise NotImplementedError

    async def pass_time(self, tries: int) -> None:
        raise NotImplementedError

    async def call(self, name: int, refreshes: bool, key: int) -> None:
        raise NotImplementedError

    async def settle(self, model: Model) -> None:
        until = time.monotonic() + PATIENCE
        for tries in itertools.count():
            differs = await self.differs(model)
            if not differs:
                return
            assert time.monotonic() < until, differs
            await self.pass_time(tries)

    async def close(self) -> None:
        raise NotImplementedError


class Threads(Engine):
    """Synchronous: each caller is a thread."""

    def __init__(self, rules: Rules, options: dict[str, Any]) -> None:
        if rules.limited():
            options = {**options, "run_in_thread": True}
        self.callers: list[threading.Thread] = []
        super().__init__(rules, options)

    def function(self) -> Any:
        class Function:
            def __retain_key__(self) -> str:
                return "one function for as long as a test lasts"

            def __call__(_, key: int) -> Any:
                run = self.begin(key, threading.Event(), threading.current_thread())
                assert run.gate.wait(60)
                return run.end()

        return Function()

    def is_alive(self, run: Run) -> bool:
        # A run in its caller's thread has ended with the call.
        return run.owner not in self.callers and run.owner.is_alive()

    def busy(self, under_way: set[tuple[int, int]]) -> list[Any]:
        known = {self.runs[key].owner for key in under_way}
        threads = set(threading.enumerate()) - known
        return [thread for thread in threads if thread.name.startswith("retainit ")]

    async def pass_time(self, tries: int) -> None:
        time.sleep(0.00005 if tries < 20 else 0.001)  # noqa: ASYNC251 - driven by hand, without a loop

    async def call(self, name: int, refreshes: bool, key: int) -> None:
        method = self.cached.cache_refresh if refreshes else self.cached
        calling = []

        def call() -> None:
            who.set(name)
            calling.append(name)
            try:
                outcome = ("value", method(key))
            except BaseException as error:
                self.noted(name, error)
            else:
                self.outcomes[name] = outcome

        thread = threading.Thread(target=call)
        self.callers.append(thread)
        thread.start()
        while not calling:
            time.sleep(0)  # noqa: ASYNC251 - as above

    async def operate(self, expected: Any, name: str, *arguments: Any) -> None:
        assert getattr(self.cached, name)(*arguments) == expected

    async def close(self) -> None:
        self.closing = True
        for run in list(self.runs.values()):
            run.gate.set()
        for thread in [*self.callers, *(run.owner for run in self.runs.values())]:
            thread.join(PATIENCE)
            assert not thread.is_alive()


class Tasks(Engine):
    """Asynchronous: each caller is a task."""

    def __init__(self, rules: Rules, options: dict[str, Any]) -> None:
        self.callers: dict[int, asyncio.Task[None]] = {}
        super().__init__(rules, options)

    def function(self) -> Any:
        class Function:
            def __retain_key__(self) -> str:
                return "one function for as long as a test lasts"

            async def __call__(_, key: int) -> Any:
                run = self.begin(key, asyncio.Event(), asyncio.current_task())
                await run.gate.wait()
                return run.end()

        return Function()

    def is_alive(self, run: Run) -> bool:
        return not run.owner.done()

    def busy(self, under_way: set[tuple[int, int]]) -> list[Any]:
        known = {self.runs[key].owner for key in under_way} | {asyncio.current_task()}
        return [*asyncio.all_tasks() - known - set(self.callers.values())]

    async def pass_time(self, tries: int) -> None:
        await asyncio.sleep(0 if tries < 30 else 0.0005)

    async def settle(self, model: Model) -> None:
        await super().settle(model)
        # What must not happen gets the time to do so.
        for _ in range(5):
            await asyncio.sleep(0)
        await super().settle(model)

    async def call(self, name: int, refreshes: bool, key: int) -> None:
        method = self.cached.cache_refresh if refreshes else self.cached

        async def call() -> None:
            who.set(name)
            try:
                outcome = ("value", await method(key))
            except BaseException as error:
                self.noted(name, error)
            else:
                self.outcomes[name] = outcome

        self.callers[name] = asyncio.create_task(call())

    async def operate(self, expected: Any, name: str, *arguments: Any) -> None:
        assert await getattr(self.cached, name)(*arguments) == expected

    def cancel(self, name: int) -> None:
        self.callers[name].cancel()

    async def close(self) -> None:
        self.closing = True
        for run in list(self.runs.values()):
            run.gate.set()
        ending = [*self.callers.values(), *(run.owner for run in self.runs.values())]
        _, late = await asyncio.wait(ending, timeout=PATIENCE) if ending else (set(), set())
        assert not late


class Imagined:
    """No engine: where a sequence leads by the model alone."""

    async def settle(self, model: Model) -> None: ...

    async def call(self, name: int, refreshes: bool, key: int) -> None: ...

    async def operate(self, expected: Any, name: str, *arguments: Any) -> None: ...

    def leader(self, key: int, number: int, expected: int) -> int:
        return expected

    def let_go(self, key: int, number: int, verdict: tuple[str, Any]) -> None: ...

    def cancel(self, name: int) -> None: ...

    def advance(self, seconds: float) -> None: ...
