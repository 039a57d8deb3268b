"""Many calls together, some of them stale, failing or kept exceptions: as docs/freshness.md has it."""

from __future__ import annotations

from typing import Any

import pytest
from many_calls import FLAVOURS, TIERS, Gate, Made

from retainit import retain


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(TIERS))
def tiers(request: pytest.FixtureRequest) -> list[Any]:
    return TIERS[request.param]()


def test_a_stale_value_is_the_answer_and_the_function_refreshes_it(clock: Any, tiers: list[Any]) -> None:
    gate = Gate()
    runs: list[int] = []

    @retain(backend=tiers, ttl=10, stale_ttl=10)
    def f(x: int) -> list[int]:
        runs.append(x)
        if len(runs) == 4:
            gate.finish.set()
        return [len(runs), x]

    f.cache_info()
    assert f.cache_many([1, 2]) == [[1, 1], [2, 2]]
    clock.advance(15)
    batches: list[list[int]] = []

    def batch(items: list[int]) -> list[list[int]]:
        batches.append(items)
        return [[0, item] for item in items]

    # The batch function makes what is missing, and nothing else.
    assert f.cache_many([1, 2, 3], batch=batch) == [[1, 1], [2, 2], [0, 3]]
    assert batches == [[3]]
    assert f.cache_info().stale == 2
    assert gate.finish.wait(30)
    assert sorted(runs) == [1, 1, 2, 2]


def test_what_can_only_be_fallen_back_on_is_made_anew(clock: Any, flavour: str, tiers: list[Any]) -> None:
    made = Made(flavour, backend=tiers, ttl=10, stale_if_error=100)
    made.many([1, 2])
    clock.advance(15)
    assert made.many([1, 2, 3], batch=made.batch) == [["batch", 1], ["batch", 2], ["batch", 3]]
    assert made.batches == [[1, 2, 3]]
    assert made.f.cache_info().stale == 0


def test_a_batch_that_fails_leaves_what_there_is_to_fall_back_on(
    clock: Any, flavour: str, tiers: list[Any]
) -> None:
    made = Made(flavour, backend=tiers, ttl=10, stale_if_error=100)
    made.many([1, 2])
    clock.advance(15)

    def fail(items: list[Any]) -> Any:
        made.batches.append(items)
        raise ValueError("failed")

    assert made.many([1, 2], batch=fail) == [[1, 2], [2, 2]]
    assert made.f.cache_info().stale == 2
    # In the pause after a failure it is not asked again, but for what has nothing to be served.
    assert made.many([1, 2], batch=fail) == [[1, 2], [2, 2]]
    assert made.batches == [[1, 2]]
    with pytest.raises(ValueError, match="failed"):
        made.many([1, 3], batch=fail)
    assert made.batches == [[1, 2], [3]]
    clock.advance(2)
    assert made.many([1, 2], batch=made.batch) == [["batch", 1], ["batch", 2]]
    assert made.many([1, 2], batch=fail) == [["batch", 1], ["batch", 2]]


def test_runs_that_fail_leave_what_there_is_to_fall_back_on(
    clock: Any, flavour: str, tiers: list[Any]
) -> None:
    made = Made(flavour, backend=tiers, ttl=10, stale_if_error=100)
    made.run(lambda: made.f.cache_set("old", "fail"))
    clock.advance(15)
    assert made.many(["fail", 1]) == ["old", [1, 2]]


def test_a_kept_exception_is_raised(flavour: str, tiers: list[Any]) -> None:
    made = Made(flavour, backend=tiers, cache_exceptions=ValueError)
    for options in ({}, {"batch": made.batch}, {}):
        with pytest.raises(ValueError, match="failed"):
            made.many(["fail"], **options)
    assert (made.runs, made.batches) == ([("fail", 2)], [])


def test_what_a_batch_raises_is_kept_for_no_call(flavour: str, tiers: list[Any]) -> None:
    made = Made(flavour, backend=tiers, cache_exceptions=ValueError)

    def fail(items: list[Any]) -> Any:
        raise ValueError("of the batch")

    with pytest.raises(ValueError, match="of the batch"):
        made.many([1, 2], batch=fail)
    assert made.many([1, 2]) == [[1, 2], [2, 2]]


def test_a_result_that_is_not_kept_replaces_what_was(clock: Any, flavour: str, tiers: list[Any]) -> None:
    made = Made(
        flavour, backend=tiers, ttl=10, stale_if_error=100, cache_if=lambda result: result[0] != "batch"
    )
    made.many([1])
    clock.advance(15)
    assert made.many([1], batch=made.batch) == [["batch", 1]]

    def fail(items: list[Any]) -> Any:
        raise KeyError("nothing to fall back on")

    with pytest.raises(KeyError):
        made.many([1], batch=fail)


def test_a_batch_has_no_timeout(clock: Any, tiers: list[Any]) -> None:
    made = Made("asyncio", backend=tiers, hard_timeout=5)

    def slow(items: list[Any]) -> Any:
        clock.advance(60)
        return made.batch(items)

    assert made.many([1, 2], batch=slow) == [["batch", 1], ["batch", 2]]
    assert made.many([1, 2]) == [["batch", 1], ["batch", 2]]
    assert made.runs == []
