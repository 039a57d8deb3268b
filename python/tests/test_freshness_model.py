"""Random sequences of events, for the model of `docs/freshness.md` and for the engine.

A run of the function waits at a gate until an event lets it go, and the clock moves only when an event says
so: so the model can say of every moment who has been answered with what, and who still waits. After each
event the test waits for as much to be true of the engine; anything else that happens is a failure.

Sequences are hypothesis', and some that were chosen because they lead through every transition of the page.
`RETAINIT_MODEL_SEQUENCES=5000` makes a long run of it: so many of each variant, other ones each time.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import copy
import functools
import itertools
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from freshness_engine import Imagined, Tasks, Threads
from freshness_model import TRANSITIONS, Ambiguous, Caller, Flight, Model, Rules
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import retainit
from retainit import MISSING, DiskConfig, MemoryConfig

LONG = int(os.environ.get("RETAINIT_MODEL_SEQUENCES", "0"))

#: Events of a sequence; not every one finds an occasion.
LENGTH = 40

#: Sequences that are tried without an engine, to choose some.
IMAGINED = 1500

#: Callers that wait at a time.
CROWD = 6

OPTIONS: list[dict[str, float]] = [
    {"ttl": 10},
    {
        "ttl": 10,
        "refresh_ahead": 0.5,
        "stale_ttl": 4,
        "stale_if_error": 10,
        "soft_timeout": 1,
        "hard_timeout": 3,
    },
    {"refresh_ahead": 0.5, "stale_ttl": 4, "stale_if_error": 10, "soft_timeout": 1, "hard_timeout": 3},
    {"ttl": 10, "refresh_ahead": 0.5, "stale_ttl": 4, "stale_if_error": 10},
    {"stale_ttl": 4, "hard_timeout": 3},
    {"ttl": 10, "stale_if_error": 10, "soft_timeout": 1, "hard_timeout": 2},
    {"ttl": 10, "hard_timeout": 6},
    {"refresh_ahead": 0.5},
]
#: What the tiers say where the function says nothing: the nearer one less.
TTLS = {"memory": 4.0, "disk": 10.0}

#: What happens, and how often.
WEIGHTS = {
    "call": 12,
    "advance": 12,
    "ok": 4,
    "fail": 4,
    "kill": 1,
    "unkept": 1,
    "cancel": 2,
    "cache_get": 1,
    "cache_set": 2,
    "cache_delete": 1,
    "cache_clear": 1,
    "cache_refresh": 2,
}
NAMES = [name for name, weight in WEIGHTS.items() for _ in range(weight)]

Event = tuple[str, int]

#: What chance seldom finds. A caller joins a refresh, and falls back; a stray stores while a refresh runs.
PATHS: list[list[Event]] = [
    [
        ("cache_set", 0),
        ("advance", 1),
        *[("advance", 7)] * 6,
        ("call", 0),
        ("advance", 0),
        ("call", 0),
        ("advance", 0),
        ("ok", 0),
    ],
    [
        ("cache_set", 0),
        ("advance", 0),
        ("call", 0),
        ("advance", 0),
        ("advance", 0),
        ("call", 0),
        ("ok", 0),
        ("call", 0),
        ("ok", 0),
    ],
]

events = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 7)), min_size=LENGTH, max_size=LENGTH)

# --- one sequence ---------------------------------------------------------------------------------


class Sequence:
    """One sequence of events, on both sides."""

    def __init__(self, model: Model, engine: Any, clock: Any) -> None:
        self.model = model
        self.engine = engine
        self.clock = clock
        self.names = itertools.count()

    async def follow(self, steps: list[Event]) -> int:
        """How many of the events there was an occasion for."""
        taken = 0
        for event, number in steps:
            taken += bool(await getattr(self, event)(number))
        return taken

    async def both(self, change: Callable[[Model], Any]) -> bool:
        """Lets the model go first, unless it cannot say what happens."""
        model = self.model
        if not isinstance(self.engine, Imagined):
            before = copy.deepcopy(model, {id(model.seen): model.seen.copy()})
            try:
                change(before)
                before.time_is(before.now)
            except Ambiguous:
                return False
        change(model)
        model.time_is(model.now)
        return True

    async def settled(self) -> bool:
        await self.engine.settle(self.model)
        for flight in self.model.all():
            if flight.leader:
                name = self.engine.leader(flight.key, flight.run, flight.leader.name)
                self.model.elect(flight, self.model.callers[name])
        return True

    def key(self, number: int) -> int:
        return number // 7

    def crowded(self) -> bool:
        return sum(len(flight.waiting()) for flight in self.model.all()) >= CROWD

    async def call(self, number: int) -> bool:
        return await self.called(number, refreshes=False)

    async def cache_refresh(self, number: int) -> bool:
        return await self.called(number, refreshes=True)

    async def called(self, number: int, refreshes: bool) -> bool:
        name, key = next(self.names), self.key(number)

        def change(model: Model) -> None:
            (model.cache_refresh if refreshes else model.call)(Caller(name, key, model.now, refreshes))

        if self.crowded():
            return False
        if not await self.both(change):
            return False
        await self.engine.call(name, refreshes, key)
        return await self.settled()

    def flight(self, number: int) -> Flight | None:
        flights = self.model.all()
        return flights[number % len(flights)] if flights else None

    async def ends(
        self, number: int, how: str, what: Any, change: Callable[[Model, Flight, Any], None]
    ) -> bool:
        flight = self.flight(number)
        if flight is None:
            return False
        key, run = flight.key, flight.run
        verdict = (how, (*what, key, run, how == "ok" and what[0] == "kept"))
        if not await self.both(lambda model: change(model, model.find(key, run), verdict[1])):
            return False
        self.engine.let_go(key, run, verdict)
        return await self.settled()

    async def ok(self, number: int) -> bool:
        return await self.ends(
            number, "ok", ("kept",), lambda model, flight, value: model.load_ok(flight, value)
        )

    async def unkept(self, number: int) -> bool:
        def change(model: Model, flight: Flight, value: Any) -> None:
            model.load_ok(flight, value, kept=False)

        return await self.ends(number, "ok", ("unkept",), change)

    async def fail(self, number: int) -> bool:
        return await self.ends(number, "fail", (), Model.load_failed)

    async def kill(self, number: int) -> bool:
        return await self.ends(number, "kill", (), Model.killed)

    async def cancel(self, number: int) -> bool:
        waiting = [(flight, caller) for flight in self.model.all() for caller in flight.waiting()]
        if not waiting or not self.model.rules.asynchronous:
            return False
        flight, caller = waiting[number % len(waiting)]
        if not await self.both(
            lambda model: model.cancelled(model.find(flight.key, flight.run), model.callers[caller.name])
        ):
            return False
        self.engine.cancel(caller.name)
        return await self.settled()

    async def advance(self, number: int) -> bool:
        """To one of the next moments at which something changes, or between two of them.

        Stops wherever somebody has waited long enough, as a clock does that nobody holds.
        """
        moments = self.model.moments()
        end = moments[number % 4] if number < 6 and len(moments) > number % 4 else self.model.now + 0.5
        while self.model.now < end:
            moment = min(self.model.next_moment(), end)
            by = moment - self.model.now
            if not await self.both(functools.partial(Model.time_is, now=moment)):
                return False
            self.clock.advance(by)
            await self.settled()
        return True

    async def cache_get(self, number: int) -> bool:
        expected = self.model.cache_get(self.key(number))
        await self.engine.operate(MISSING if expected is None else expected, "cache_get", self.key(number))
        return True

    async def cache_set(self, number: int) -> bool:
        value = ("set", next(self.names), True)
        self.model.cache_set(self.key(number), value)
        await self.engine.operate(None, "cache_set", value, self.key(number))
        return await self.settled()

    async def cache_delete(self, number: int) -> bool:
        expected = self.model.cache_delete(self.key(number))
        await self.engine.operate(expected, "cache_delete", self.key(number))
        return await self.settled()

    async def cache_clear(self, number: int) -> bool:
        self.model.cache_clear()
        await self.engine.operate(None, "cache_clear")
        return await self.settled()


# --- all of them ----------------------------------------------------------------------------------


class Tally:
    """What has been seen of the page."""

    def __init__(self) -> None:
        self.sequences = self.steps = 0
        self.seen: collections.Counter[str] = collections.Counter()


TALLIES: dict[tuple[str, str], Tally] = {}
VARIANTS = [(way, tiers) for way in ("threads", "tasks") for tiers in ("memory", "disk", "memory+disk")]


def rules_of(way: str, tiers: str, options: dict[str, float]) -> Rules:
    names = tiers.split("+")
    own = options.get("ttl")
    return Rules(
        ttls=tuple(own or TTLS[name] for name in names),
        asynchronous=way == "tasks",
        blocks=names[0] == "disk",
        **{name: value for name, value in options.items() if name != "ttl"},
    )


def drive(coroutine: Any) -> None:
    """Drives by hand what never waits: a loop would keep synchronous callers from waiting."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def chosen(way: str, tiers: str) -> list[tuple[dict[str, float], list[Event]]]:
    """Sequences that lead through all that can be reached, each to something that those before did not."""
    chance = random.Random(4)
    seen: set[str] = set()
    choice = [(OPTIONS[1], path) for path in PATHS]
    for _ in range(IMAGINED):
        options = chance.choice(OPTIONS)
        steps = [(chance.choice(NAMES), chance.randrange(8)) for _ in range(LENGTH)]
        here: collections.Counter[str] = collections.Counter()
        imagined: Any = Imagined()
        sequence = Sequence(Model(rules_of(way, tiers, options), here), imagined, imagined)
        with contextlib.suppress(Ambiguous):
            drive(sequence.follow(steps))
        if not seen.issuperset(here):
            seen.update(here)
            choice.append((options, steps))
    return choice


def explore(way: str, tiers: str, clock: Any) -> None:
    tally = TALLIES[way, tiers] = Tally()
    numbers = itertools.count()
    loop = asyncio.new_event_loop()

    async def follow(options: dict[str, float], steps: list[Event]) -> None:
        made = {**options, "backend": tiers.split("+"), "version": next(numbers)}
        rules = rules_of(way, tiers, options)
        engine = (Tasks if way == "tasks" else Threads)(rules, made)
        # The backends are opened before anything depends on who comes first.
        engine.cached.cache_info()
        tally.sequences += 1
        try:
            tally.steps += await Sequence(Model(rules, tally.seen), engine, clock).follow(steps)
        finally:
            await engine.close()

    @settings(
        max_examples=LONG or 15,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(OPTIONS), events)
    def sequences(options: dict[str, float], steps: list[Event]) -> None:
        (loop.run_until_complete if way == "tasks" else drive)(follow(options, steps))

    for options, steps in chosen(way, tiers):
        sequences = example(options, steps)(sequences)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, patient():
        retainit.register_backend("memory", MemoryConfig(ttl=TTLS["memory"]))
        retainit.register_backend("disk", DiskConfig(base_path=directory, ttl=TTLS["disk"]))
        try:
            sequences()
        finally:
            retainit.shutdown()
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """A thread runs until it waits, so that one who was seen to call has joined."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("way", "tiers"), VARIANTS)
def test_the_engine_does_what_the_model_does(way: str, tiers: str, clock: Any) -> None:
    explore(way, tiers, clock)


def test_every_transition_of_the_page_was_seen(clock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for way, tiers in VARIANTS:
        if (way, tiers) not in TALLIES:
            explore(way, tiers, clock)
    seen = sum((tally.seen for tally in TALLIES.values()), collections.Counter())
    with capsys.disabled():
        print()
        for (way, tiers), tally in TALLIES.items():
            count = len(TRANSITIONS & set(tally.seen))
            print(
                f"{way:>8}, {tiers:<11}: {tally.sequences} sequences, {tally.steps} steps, "
                f"{count} of {len(TRANSITIONS)} transitions"
            )
        for name in sorted(seen):
            print(f"{seen[name]:>8} {name}")
    assert not sorted(set(seen) - TRANSITIONS), "the page has no such transition"
    assert not sorted(TRANSITIONS - set(seen)), "these have not been seen"
