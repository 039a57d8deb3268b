"""Many calls together: one read of each tier, one run of each that is missing, one write of a batch."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from many_calls import FLAVOURS, TIERS, Made

import retainit
from retainit import (
    ConfigurationError,
    DiskConfig,
    MemoryConfig,
    UnkeyableError,
    UnkeyableWarning,
    retain,
)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(TIERS))
def tiers(request: pytest.FixtureRequest) -> list[Any]:
    return TIERS[request.param]()


@pytest.fixture
def made(flavour: str, tiers: list[Any]) -> Made:
    return Made(flavour, backend=tiers)


class Pair(NamedTuple):
    x: int
    y: int


# --- what is answered -----------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_calls_and_each_runs_once(made: Made) -> None:
    assert made.many([3, 1, 3, 2, (1,), {"x": 2}, (1, 2)]) == [[n, 2] for n in [3, 1, 3, 2, 1, 2, 1]]
    assert sorted(made.runs) == [(1, 2), (2, 2), (3, 2)]
    assert made.counts() == (4, 3)
    assert made.many(range(5)) == [[n, 2] for n in range(5)]
    assert sorted(made.runs) == [(n, 2) for n in range(5)]
    assert made.counts() == (7, 5)


def test_calls_are_spelled_as_tuples_dicts_bound_arguments_or_the_only_argument(made: Made) -> None:
    bound = inspect.signature(made.f).bind(1, y=5)
    calls = [(1, 3), {"x": 1, "y": 4}, bound, "text", ((1, 2),), ({"a": 1},), Pair(1, 2), [1], None, ()]
    with pytest.raises(TypeError, match="missing"):
        made.many(calls)
    expected = [[1, 3], [1, 4], [1, 5], ["text", 2], [(1, 2), 2], [{"a": 1}, 2], [Pair(1, 2), 2], [[1], 2]]
    assert made.many(calls[:8]) == expected
    assert made.many(iter(calls[:8])) == expected


def test_nothing_is_asked_for(made: Made) -> None:
    assert made.many([]) == []
    assert made.many([], batch=made.batch) == []
    assert made.batches == []


def test_a_name_that_is_no_text_is_refused(made: Made) -> None:
    with pytest.raises(TypeError, match="expected text, found `1`"):
        made.many([{1: 2}])


def test_no_argument_at_all() -> None:
    runs = []

    @retain
    def f() -> int:
        runs.append(1)
        return 7

    assert f.cache_many([(), {}, ()]) == [7, 7, 7]
    assert len(runs) == 1


def test_methods_take_their_object_first() -> None:
    class Shop:
        @retain
        def price(self, item: str) -> int:
            return len(item)

    shop = Shop()
    assert shop.price.cache_many([(shop, "tea"), {"self": shop, "item": "milk"}]) == [3, 4]
    assert shop.price("tea") == 3
    assert Shop.price.cache_info().hits == 1


def test_what_is_kept_is_what_calls_find(made: Made) -> None:
    made.many([1, 2], batch=made.batch)
    assert made.run(lambda: made.f(1)) == ["batch", 1]
    made.run(lambda: made.f(3))
    assert made.many([3, 1]) == [[3, 2], ["batch", 1]]
    assert made.runs == [(3, 2)]


def test_hits_of_a_farther_tier_fill_the_nearer_ones(flavour: str) -> None:
    first = Made(flavour, backend=["memory", DiskConfig(base_path="far")])
    first.many(range(20))
    retainit.shutdown()
    second = Made(flavour, backend=["memory", DiskConfig(base_path="far")])
    assert second.many(range(20)) == [[n, 2] for n in range(20)]
    assert second.runs == []
    assert second.f.cache_info().currsize == 20
    assert second.counts() == (20, 0)


def test_what_is_filled_lives_no_longer_than_where_it_came_from(clock: Any, flavour: str) -> None:
    tiers = [MemoryConfig(ttl=100), DiskConfig(base_path="far", ttl=10)]
    made = Made(flavour, backend=tiers)
    made.many([1, 2])
    retainit.shutdown()
    clock.advance(6)
    made.many([1, 2])
    assert len(made.runs) == 2
    clock.advance(6)
    made.many([1, 2])
    assert len(made.runs) == 4


def test_copies_are_ones_own(flavour: str) -> None:
    made = Made(flavour, copy="deep")
    for _ in range(2):
        one, other = made.many([1, 1])
        one.append("mine")
        assert other == [1, 2]
    assert made.many([1]) == [[1, 2]]


def test_references_are_the_object_itself(flavour: str) -> None:
    made = Made(flavour)
    one, other = made.many([1, 1])
    assert one is other
    assert made.many([1])[0] is one


def test_ten_thousand_calls(made: Made) -> None:
    assert made.many(range(10_000), batch=made.batch) == [["batch", n] for n in range(10_000)]
    assert made.many(range(10_000)) == [["batch", n] for n in range(10_000)]
    assert (made.runs, len(made.batches)) == ([], 1)


@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rounds=st.lists(
        st.tuples(st.lists(st.integers(0, 9) | st.sampled_from(["a", "b"])), st.booleans()), max_size=5
    )
)
def test_it_is_what_calls_one_by_one_give(made: Made, rounds: list[tuple[list[Any], bool]]) -> None:
    made.run(made.f.cache_clear)
    made.runs.clear()
    made.batches.clear()
    known: dict[Any, Any] = {}
    hits = 0
    for calls, with_batch in rounds:
        new = list(dict.fromkeys(call for call in calls if call not in known))
        hits += len(calls) - len(new)
        before = (len(made.runs), len(made.batches))
        answers = made.many(calls, batch=made.batch) if with_batch else made.many(calls)
        known.update({call: ["batch", call] if with_batch else [call, 2] for call in new})
        assert answers == [known[call] for call in calls]
        if with_batch:
            assert len(made.runs) == before[0]
            assert made.batches[before[1] :] == ([new] if new else [])
        else:
            assert len(made.batches) == before[1]
            assert sorted(map(str, made.runs[before[0] :])) == sorted(str((call, 2)) for call in new)
    assert made.counts() == (hits, len(known))
    for call, value in known.items():
        assert made.many([call]) == [value]


# --- batch functions ------------------------------------------------------------------------------


def test_a_batch_gets_what_is_missing_as_it_was_given_each_once(made: Made) -> None:
    made.many([1])
    made.many([2, 1, (3,), {"x": 4}, 2, (2, 2)], batch=made.batch)
    assert made.batches == [[2, (3,), {"x": 4}]]
    assert made.counts() == (3, 4)
    made.many([1, 2, 3, 4], batch=made.batch)
    assert len(made.batches) == 1


def test_a_batch_of_a_coroutine_function_may_be_one(tiers: list[Any]) -> None:
    made = Made("asyncio", backend=tiers)

    async def batch(items: list[Any]) -> Any:
        await asyncio.sleep(0)
        return tuple(made.batch(items))

    assert made.many([1, 2], batch=batch) == [["batch", 1], ["batch", 2]]
    assert made.many([2, 1]) == [["batch", 2], ["batch", 1]]


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (None, TypeError, "expected a list of 2 results, found `NoneType`"),
        ({1: 2, 2: 3}, TypeError, "expected a list of 2 results, found `dict`"),
        ("ab", TypeError, "expected a list of 2 results, found `str`"),
        ([1], ValueError, "expected a list of 2 results, found 1"),
        ([1, 2, 3], ValueError, "expected a list of 2 results, found 3"),
    ],
)
def test_a_batch_that_gives_something_else_is_refused(
    made: Made, wrong: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        made.many([1, 2], batch=lambda items: wrong)
    assert made.run(lambda: made.f(1)) == [1, 2]


def test_a_batch_that_is_no_function_is_refused(made: Made) -> None:
    with pytest.raises(ConfigurationError, match="`batch` of `cache_many`: expected a function, found `5`"):
        made.many([1], batch=5)


def test_a_coroutine_function_for_a_function_is_refused() -> None:
    async def batch(items: list[Any]) -> Any:
        return items

    with pytest.raises(ConfigurationError, match="found the coroutine function"):
        Made("sync").many([1], batch=batch)


def test_what_is_not_to_be_kept_is_not(flavour: str, tiers: list[Any]) -> None:
    made = Made(flavour, backend=tiers, cache_if=lambda result: result[1] != 2)
    for _ in range(2):
        assert made.many([1, 2, 3], batch=made.batch) == [["batch", n] for n in [1, 2, 3]]
    assert made.batches == [[1, 2, 3], [2]]


def test_a_ttl_is_of_its_own_result(clock: Any, flavour: str, tiers: list[Any]) -> None:
    made = Made(flavour, backend=tiers, ttl=lambda result, x, y=2: x)
    made.many([5, 10], batch=made.batch)
    clock.advance(7)
    made.many([5, 10], batch=made.batch)
    assert made.batches == [[5, 10], [5]]


# --- failures -------------------------------------------------------------------------------------


def test_what_succeeded_before_a_failure_is_kept(made: Made) -> None:
    with pytest.raises(ValueError, match="failed"):
        made.many([1, "fail", 3])
    ran = len(made.runs)
    assert made.many([1]) == [[1, 2]]
    assert len(made.runs) == ran
    # One after the other nothing is started once one has failed; together all have been.
    assert ((3, 2) in made.runs) == (made.flavour != "sync")


def test_of_several_failures_the_first_in_order_is_raised(made: Made) -> None:
    def fail(items: list[Any]) -> Any:
        raise KeyError(len(items))

    with pytest.raises(KeyError, match="2"):
        made.many([1, 2], batch=fail)
    assert made.many([1, 2]) == [[1, 2], [2, 2]]


@pytest.mark.parametrize(
    "raised", [StopIteration(1), StopAsyncIteration(), GeneratorExit(), KeyboardInterrupt()]
)
def test_anything_can_be_raised(raised: BaseException) -> None:
    def fail(x: Any) -> Any:
        raise raised

    for options in ({}, {"batch": fail}):
        with pytest.raises(type(raised)) as caught:
            retain(fail).cache_many([1], **options)
        assert caught.value is raised


def test_without_a_cache_the_calls_are_made(made: Made) -> None:
    with retainit.disabled():
        assert made.many([1, 1, 2]) == [[1, 2], [1, 2], [2, 2]]
        assert made.many([1, 1], batch=made.batch) == [["batch", 1]] * 2
    assert len(made.runs) == 3
    assert made.batches == [[1, 1]]
    assert made.counts() == (0, 0)


def test_arguments_without_a_key_run_uncached_with_a_warning(flavour: str) -> None:
    made = Made(flavour, backend=DiskConfig(base_path="far"))
    thing = object()
    with pytest.warns(UnkeyableWarning, match="runs uncached"):
        assert made.many([1, thing, thing]) == [[1, 2], [thing, 2], [thing, 2]]
    assert made.many([thing, 5], batch=made.batch) == [[thing, 2], ["batch", 5]]
    assert made.batches == [[5]]


def test_strict_raises_for_arguments_without_a_key(flavour: str) -> None:
    made = Made(flavour, backend=DiskConfig(base_path="far"), strict=True)
    with pytest.raises(UnkeyableError):
        made.many([1, object()])
    assert made.runs == []


def test_a_value_that_cannot_be_stored_fails_nobody(flavour: str) -> None:
    made = Made(flavour, backend=DiskConfig(base_path="far"), serializer="json")
    value = object()
    assert made.many([1, 2], batch=lambda items: [value, 5]) == [value, 5]
    assert made.f.cache_info().errors == 1
    assert made.many([2], batch=made.batch) == [5]


def test_strict_says_what_could_not_be_stored(flavour: str) -> None:
    made = Made(flavour, backend=DiskConfig(base_path="far"), serializer="json", strict=True)
    with pytest.raises(retainit.SerializationError):
        made.many([1, 2], batch=lambda items: [object(), 5])
