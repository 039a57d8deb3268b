"""What freshness, failures and invalidation cost: hits, calls over an open circuit, tags."""

from __future__ import annotations

import statistics
import time
from typing import Any

from harness import (
    Contender,
    Report,
    Samples,
    Settings,
    interleave,
    judge,
    medians,
    repeated,
)
from peers import Function

#: Nanoseconds that everything together may add to a hit.
HIT = 20.0
#: Nanoseconds that a call may cost beyond the bare function where its only backend is not asked any more.
OPEN = 1000.0
#: Entries of one tag, and the milliseconds that invalidating it may take.
ENTRIES, INVALIDATION = 1_000_000, 1.0


def run(settings: Settings) -> Report:
    report = Report("What resilience costs")
    _hits(settings, report)
    _open_circuit(settings, report)
    _tag(report)
    return report


def _hits(settings: Settings, report: Report) -> None:
    from retainit import MemoryConfig, retain

    plain = retain(backend=MemoryConfig(), ttl=3600)(_body)
    aged = retain(
        backend=MemoryConfig(),
        ttl=3600,
        stale_ttl=60,
        stale_if_error=600,
        refresh_ahead=0.8,
        hard_timeout=60,
        run_in_thread=True,
        cache_exceptions=LookupError,
    )(_body)
    tagged = retain(backend=MemoryConfig(), ttl=3600, stale_ttl=60, tags=["all", "x:{x}"])(_body)
    names = {
        "ttl alone": plain,
        "every option of freshness": aged,
        "stale_ttl and two tags": tagged,
    }
    contenders = [_called(name, cached) for name, cached in names.items()]
    samples = interleave(contenders, settings)
    report.medians["a hit, one int"] = medians(samples)
    for name in ("every option of freshness", "stale_ttl and two tags"):
        extra = _difference(samples, name, "ttl alone")
        report.add(
            f"a hit with {name}",
            f"at most {HIT:.0f} ns more",
            f"{extra:+.1f} ns",
            "a hit with a ttl alone",
            judge(extra, HIT, "at most"),
        )


def _open_circuit(settings: Settings, report: Report) -> None:
    from retainit import retain
    from retainit.testing import FailingBackend

    cached = retain(backend=FailingBackend(), ttl=3600)(_body)
    for _ in range(20):
        cached(7)
    samples = interleave([_called("the function", _body), _called("its circuit open", cached)], settings)
    report.medians["a call over a backend that is not asked"] = medians(samples)
    extra = _difference(samples, "its circuit open", "the function")
    report.add(
        "a call while the circuit is open",
        f"at most {OPEN:.0f} ns more",
        f"{extra:+.0f} ns",
        "the bare function",
        judge(extra, OPEN, "at most"),
    )


def _tag(report: Report) -> None:
    from retainit import MemoryConfig, invalidate_tag, retain

    cached = retain(backend=MemoryConfig(max_size=None), tags=["all"])(_body)
    for key in range(ENTRIES):
        cached(key)
    start = time.perf_counter()
    invalidate_tag("all")
    took = (time.perf_counter() - start) * 1e3
    before = cached.cache_info().misses
    for key in range(0, ENTRIES, 997):
        cached(key)
    read = len(range(0, ENTRIES, 997))
    stale = read - (cached.cache_info().misses - before)
    report.add(
        f"invalidating the tag of {ENTRIES:,} entries",
        f"at most {INVALIDATION:.0f} ms",
        f"{took:.3f} ms",
        "itself",
        judge(took, INVALIDATION, "at most"),
    )
    report.add(
        f"of {read} of them read after it",
        "0 seen",
        f"{stale} seen",
        "itself",
        judge(stale, 0, "at most"),
    )


def _called(name: str, function: Function) -> Contender:
    function(7)
    return Contender(name, repeated("f(7)", f=function))


def _difference(samples: Samples, left: str, right: str) -> float:
    """Nanoseconds: the median of the rounds' own differences."""
    return statistics.median(a - b for a, b in zip(samples[left], samples[right], strict=True))


def _body(x: Any) -> Any:
    return x
