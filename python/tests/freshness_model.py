"""`docs/freshness.md` as a program: what every caller gets, in the page's words and in its order.

Nothing in it runs at the same time, waits, or knows how the engine does it. A test tells the model what
happens, and the model says who has been answered with what, how often the function ran, and what is counted.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import Any, NamedTuple

#: States that answer a call.
ANSWERS = ("fresh", "refresh-due", "stale")

#: A stray's result is welcome for as long again as the hard timeout.
GRACE = 2
#: A pause, in seconds: the first one, and the longest.
PAUSES = (1.0, 30.0)


class Ambiguous(Exception):
    """Who comes first decides what happens next, and nothing says who that is."""


class Rules(NamedTuple):
    """A function's options, in seconds; `ttls` are those of the tiers, the nearest first."""

    ttls: tuple[float, ...] = (math.inf,)
    refresh_ahead: float | None = None
    stale_ttl: float = 0.0
    stale_if_error: float = 0.0
    soft_timeout: float = math.inf
    hard_timeout: float = math.inf
    asynchronous: bool = False
    #: Whether the first tier may block.
    blocks: bool = False

    def limited(self) -> bool:
        """Whether callers wait no longer than so long."""
        return min(self.soft_timeout, self.hard_timeout) < math.inf


@dataclasses.dataclass
class Entry:
    """Section *Moments of an entry*."""

    value: Any
    created: float
    due: float
    expires: float
    stale_until: float


@dataclasses.dataclass(eq=False)
class Caller:
    """One who called, or called `cache_refresh`, and what came of it."""

    name: int
    key: int
    entered: float
    refreshes: bool = False
    outcome: tuple[Any, ...] | None = None


@dataclasses.dataclass(eq=False)
class Flight:
    """A run of the function, and who waits for it."""

    key: int
    run: int
    started: float
    state: str
    #: Who started it and waits for it; nobody in the background.
    leader: Caller | None
    joined: list[Caller]
    #: What there was when it began, to fall back on.
    entry: Entry | None
    #: Whether it met something that its result is to replace.
    met: bool
    #: Of a stray: whether it was invalidated, or overtaken.
    spoilt: bool = False
    #: Whether it is `cache_refresh`'s.
    replaces: bool = False
    #: Whether it began in the background.
    refresh: bool = False
    #: Whether it goes on though nobody waits: somebody was answered without it.
    left: bool = False

    def waiting(self) -> list[Caller]:
        return [*([self.leader] if self.leader else []), *self.joined]


class Model:
    """One function, its tiers, its flights."""

    def __init__(self, rules: Rules, seen: collections.Counter[str]) -> None:
        self.rules = rules
        self.seen = seen
        self.now = 0.0
        self.tiers: list[dict[int, Entry]] = [{} for _ in rules.ttls]
        #: Those that calls can join, by key; and the others.
        self.flights: dict[int, Flight] = {}
        self.others: list[Flight] = []
        #: Until when, and how long each was.
        self.pauses: dict[int, tuple[float, float]] = {}
        #: Runs of the function, by key.
        self.runs: collections.Counter[int] = collections.Counter()
        self.callers: dict[int, Caller] = {}
        self.hits = self.misses = self.stale = 0

    # --- states ----------------------------------------------------------------------------------

    def made(self, value: Any, created: float, ttl: float) -> Entry:
        rules, expires = self.rules, created + ttl
        ahead = rules.refresh_ahead
        due = math.inf if ahead is None or ttl == math.inf else created + ahead * ttl
        return Entry(value, created, due, expires, expires + max(rules.stale_ttl, rules.stale_if_error))

    def state(self, entry: Entry | None) -> str:
        if entry is None:
            return "absent"
        if self.now < entry.expires:
            return "fresh" if self.now < entry.due else "refresh-due"
        if self.now < min(entry.expires + self.rules.stale_ttl, entry.stale_until):
            return "stale"
        if self.now < min(entry.expires + self.rules.stale_if_error, entry.stale_until):
            return "fallback"
        return "expired"

    def nearest(self, key: int) -> tuple[int, Entry | None, str]:
        """The first answer; else the fallback that expired last; else nothing."""
        entries = [(index, tier.get(key)) for index, tier in enumerate(self.tiers)]
        for index, entry in entries:
            if self.state(entry) in ANSWERS:
                return index, entry, self.state(entry)
        fallbacks = [(i, entry) for i, entry in entries if entry and self.state(entry) == "fallback"]
        if fallbacks:
            return *max(fallbacks, key=lambda each: (each[1].expires, -each[0])), "fallback"
        return 0, None, "absent, expired"

    def paused(self, key: int) -> bool:
        return self.now < self.pauses.get(key, (-math.inf, 0.0))[0]

    def fallback(self, flight: Flight) -> Entry | None:
        """What everybody gets where the function gives nothing; a fenced flight has none."""
        entry = flight.entry
        return entry if flight.state != "fenced" and self.state(entry) == "fallback" else None

    # --- a call ----------------------------------------------------------------------------------

    def call(self, caller: Caller) -> None:
        self.callers[caller.name] = caller
        key = caller.key
        tier, entry, state = self.nearest(key)
        flight = self.flights.get(key)
        if flight and flight.state == "loading" and self.rules.blocks and not flight.replaces:
            # That tier is not asked.
            flight.joined.append(caller)
            return
        pause = ", in a pause" if flight is None and state not in ("fresh", "absent, expired") else ""
        pause = pause if self.paused(key) else ""
        self.seen[f"call: {state}, {flight.state if flight else 'no flight'}{pause}"] += 1
        if entry and (state in ANSWERS or pause):
            self.hits += 1
            self.answer(caller, entry.value, stale=state not in ("fresh", "refresh-due"))
            if state in ("fresh", "refresh-due") and flight is None:
                self.fill(key, entry, tier)
            if state in ("refresh-due", "stale") and flight is None and not pause:
                self.refresh(key, tier)
        elif flight is None:
            self.run(key, "loading", caller)
        else:
            flight.joined.append(caller)

    def answer(self, caller: Caller, value: Any, *, stale: bool = False) -> None:
        self.stale += stale
        caller.outcome = ("value", value)

    def fill(self, key: int, entry: Entry, tier: int) -> None:
        """Nearer tiers get what was found: nothing moves to later."""
        for nearer, ttl in enumerate(self.rules.ttls[:tier]):
            new = self.made(entry.value, self.now, min(ttl, entry.expires - self.now))
            moved = [min(new.due, entry.due), new.expires, min(new.stale_until, entry.stale_until)]
            self.tiers[nearer][key] = Entry(entry.value, entry.created, *moved)

    def refresh(self, key: int, tier: int) -> None:
        """A fresh value of a farther tier is taken instead of running the function."""
        for farther in range(tier + 1, len(self.tiers)):
            entry = self.tiers[farther].get(key)
            if entry and self.state(entry) == "fresh":
                self.seen["refresh: takes what a farther tier has"] += 1
                self.fill(key, entry, farther)
                return
        self.run(key, "refreshing", None)

    def run(self, key: int, state: str, leader: Caller | None) -> None:
        self.runs[key] += 1
        self.misses += 1
        entries = [tier[key] for tier in self.tiers if key in tier and self.state(tier[key]) != "expired"]
        entry = max(entries, key=lambda entry: entry.expires, default=None)
        replaces = leader is not None and leader.refreshes
        met = entry is not None or replaces
        self.flights[key] = Flight(
            key, self.runs[key], self.now, state, leader, [], entry, met, False, replaces, leader is None
        )

    # --- events of a flight ----------------------------------------------------------------------

    def find(self, key: int, run: int) -> Flight:
        return next(flight for flight in self.all() if (flight.key, flight.run) == (key, run))

    def all(self) -> list[Flight]:
        """Every run under way."""
        return sorted([*self.flights.values(), *self.others], key=lambda flight: (flight.key, flight.run))

    def over(self, flight: Flight) -> None:
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
        else:
            self.others.remove(flight)

    def load_ok(self, flight: Flight, value: Any, *, kept: bool = True) -> None:
        self.seen[f"load ok{'' if kept else ', not kept'}: {flight.state}"] += 1
        self.over(flight)
        if flight.state == "stray":
            if flight.spoilt or self.now >= flight.started + GRACE * self.rules.hard_timeout:
                return
            self.pauses.pop(flight.key, None)
            if kept:
                self.store(flight, value)
            return
        if flight.state != "fenced":
            self.pauses.pop(flight.key, None)
            self.store(flight, value, kept=kept)
        self.everybody(flight, ("value", value))

    def store(self, flight: Flight, value: Any, *, kept: bool = True) -> None:
        for stray in self.others:
            if stray.key == flight.key and stray.state == "stray" and stray.run < flight.run:
                stray.spoilt = True
        for tier, ttl in zip(self.tiers, self.rules.ttls, strict=True):
            if kept:
                tier[flight.key] = self.made(value, self.now, ttl)
            elif flight.met:
                tier.pop(flight.key, None)

    def load_failed(self, flight: Flight, error: Any) -> None:
        fallback = self.fallback(flight)
        with_it = (" with" if fallback else " without") + " a fallback" if flight.state == "loading" else ""
        self.seen[f"load failed: {flight.state}{with_it}"] += 1
        self.over(flight)
        if flight.state == "loading" and (fallback or flight.replaces):
            self.pause(flight.key)
        if flight.state == "refreshing":
            self.pause(flight.key)
        if flight.refresh:
            self.again(flight.joined)
        elif flight.state != "stray":
            self.everybody(flight, ("raised", error), instead=fallback)

    def soft_timeout(self, flight: Flight, caller: Caller) -> None:
        fallback = self.fallback(flight)
        assert fallback
        self.seen[f"soft timeout: {flight.state}"] += 1
        self.hits += caller is not flight.leader
        self.leave(flight, caller)
        flight.left = True
        self.answer(caller, fallback.value, stale=True)

    def hard_timeout(self, flight: Flight) -> None:
        fallback, before = self.fallback(flight), flight.state
        with_it = (" with" if fallback else " without") + " a fallback" if before == "loading" else ""
        self.seen[f"hard timeout: {before}{with_it}"] += 1
        if before == "fenced":
            flight.spoilt = True
        else:
            del self.flights[flight.key]
            self.others.append(flight)
        flight.state = "stray"
        if before == "refreshing" or (before == "loading" and (fallback or flight.replaces)):
            self.pause(flight.key)
        if flight.refresh:
            self.again(flight.joined)
        else:
            self.everybody(flight, ("timeout",), instead=fallback)
        flight.leader, flight.joined = None, []

    def cancelled(self, flight: Flight, caller: Caller) -> Flight | None:
        """Of a coroutine function: what is cancelled with the caller, if it was the last."""
        last = not flight.refresh and not flight.left and flight.waiting() == [caller]
        self.seen[f"cancelled: {flight.state}{', the last one' if last else ''}"] += 1
        self.leave(flight, caller)
        caller.outcome = ("cancelled",)
        if last:
            self.over(flight)
        return flight if last else None

    def killed(self, flight: Flight, error: Any) -> None:
        self.seen[f"killed: {flight.state}"] += 1
        self.over(flight)
        if flight.state == "refreshing":
            self.pause(flight.key)
        if flight.leader:
            flight.leader.outcome = ("killed", error)
        self.again(flight.joined)

    def invalidated(self, keys: list[int]) -> None:
        """The key, or everything."""
        for key in keys:
            flight = self.flights.pop(key, None)
            if flight:
                self.seen[f"invalidated: {flight.state}"] += 1
                flight.state = "fenced"
                self.others.append(flight)
            for other in self.others:
                if other.key == key and other.state == "stray":
                    self.seen["invalidated: stray"] += 1
                    other.spoilt = True
            self.pauses.pop(key, None)
            for tier in self.tiers:
                tier.pop(key, None)

    def everybody(self, flight: Flight, outcome: tuple[Any, ...], *, instead: Entry | None = None) -> None:
        """All who wait get the outcome, or `instead` of it an expired value."""
        for caller in flight.waiting():
            leads = caller is flight.leader
            if caller.refreshes and not leads:
                continue
            if instead and not caller.refreshes:
                self.hits += not leads
                self.answer(caller, instead.value, stale=True)
            else:
                # Of another's load; one that took too long has answered nobody.
                self.hits += not leads and outcome != ("timeout",)
                caller.outcome = outcome
        # `cache_refresh` runs the function after a flight under way.
        self.again([caller for caller in flight.joined if caller.refreshes])

    def again(self, callers: list[Caller]) -> None:
        """They start again, one of them first."""
        if len({caller.refreshes for caller in callers}) > 1:
            raise Ambiguous
        for caller in callers:
            (self.cache_refresh if caller.refreshes else self.call)(caller)

    def elect(self, flight: Flight, caller: Caller) -> None:
        """Of those who started again, this one was the first."""
        assert flight.leader is not None
        if caller is not flight.leader:
            assert caller.refreshes == flight.leader.refreshes
            flight.joined[flight.joined.index(caller)] = flight.leader
            flight.leader = caller

    def leave(self, flight: Flight, caller: Caller) -> None:
        if flight.leader is caller:
            flight.leader = None
        else:
            flight.joined.remove(caller)

    def pause(self, key: int) -> None:
        first, longest = PAUSES
        before = self.pauses.get(key)
        length = min(2 * before[1], longest) if before else first
        self.pauses[key] = (self.now + length, length)

    # --- time ------------------------------------------------------------------------------------

    def next_moment(self) -> float:
        """When somebody has waited long enough."""
        hard = [flight.started + self.rules.hard_timeout for flight in self.all() if flight.state != "stray"]
        soft = [
            caller.entered + self.rules.soft_timeout
            for flight in self.all()
            if self.fallback(flight)
            for caller in flight.waiting()
            if not caller.refreshes
        ]
        return min([*hard, *soft], default=math.inf)

    def moments(self) -> list[float]:
        """When something changes next, the nearest first."""
        rules = self.rules
        entries = [entry for tier in self.tiers for entry in tier.values()]
        changes = {self.next_moment(), *(until for until, _ in self.pauses.values())}
        for entry in entries:
            ends = [entry.expires + rules.stale_ttl, entry.expires + rules.stale_if_error]
            changes |= {entry.due, entry.expires, *ends}
        changes |= {flight.started + GRACE * rules.hard_timeout for flight in self.others}
        return sorted(moment for moment in changes if self.now < moment < math.inf)

    def time_is(self, now: float) -> None:
        self.now = now
        for flight in self.all():
            if flight.state != "stray" and now >= flight.started + self.rules.hard_timeout:
                self.hard_timeout(flight)
        for flight in self.all():
            for caller in flight.waiting():
                waited = not caller.refreshes and now >= caller.entered + self.rules.soft_timeout
                if waited and self.fallback(flight):
                    self.soft_timeout(flight, caller)

    # --- what users do besides calling -----------------------------------------------------------

    def cache_get(self, key: int) -> Any:
        _, entry, state = self.nearest(key)
        return entry.value if entry and state in ANSWERS else None

    def cache_set(self, key: int, value: Any) -> None:
        self.invalidated([key])
        for tier, ttl in zip(self.tiers, self.rules.ttls, strict=True):
            tier[key] = self.made(value, self.now, ttl)

    def cache_delete(self, key: int) -> bool:
        found = any(key in tier and self.now < tier[key].stale_until for tier in self.tiers)
        self.invalidated([key])
        return found

    def cache_clear(self) -> None:
        self.invalidated(
            sorted(
                {
                    *self.flights,
                    *self.pauses,
                    *(k for tier in self.tiers for k in tier),
                    *(flight.key for flight in self.others),
                }
            )
        )
        self.hits = self.misses = self.stale = 0

    def cache_refresh(self, caller: Caller) -> None:
        self.callers[caller.name] = caller
        flight = self.flights.get(caller.key)
        self.seen[f"cache_refresh: {flight.state if flight else 'no flight'}"] += 1
        if flight:
            flight.joined.append(caller)
        else:
            self.run(caller.key, "loading", caller)


STATES = ("fresh", "refresh-due", "stale", "fallback", "absent, expired")

#: Every cell of the page's tables that says something, some in parts.
TRANSITIONS = frozenset(
    [
        *(
            f"call: {state}, {flight}"
            for state in STATES
            for flight in ("no flight", "loading", "refreshing")
        ),
        *(f"call: {state}, no flight, in a pause" for state in ("refresh-due", "stale", "fallback")),
        "refresh: takes what a farther tier has",
        *(f"cache_refresh: {flight}" for flight in ("no flight", "loading", "refreshing")),
        *(f"load ok: {flight}" for flight in ("loading", "refreshing", "fenced", "stray")),
        *(f"load ok, not kept: {flight}" for flight in ("loading", "refreshing", "fenced", "stray")),
        *(f"load failed: loading {which} a fallback" for which in ("with", "without")),
        *(f"load failed: {flight}" for flight in ("refreshing", "fenced", "stray")),
        *(f"soft timeout: {flight}" for flight in ("loading", "refreshing")),
        *(f"hard timeout: loading {which} a fallback" for which in ("with", "without")),
        *(f"hard timeout: {flight}" for flight in ("refreshing", "fenced")),
        *(f"cancelled: {flight}" for flight in ("loading", "refreshing", "fenced")),
        *(f"cancelled: {flight}, the last one" for flight in ("loading", "fenced")),
        *(f"killed: {flight}" for flight in ("loading", "refreshing", "fenced", "stray")),
        *(f"invalidated: {flight}" for flight in ("loading", "refreshing", "stray")),
    ]
)
