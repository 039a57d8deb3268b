"""What `retainit.testing` gives to tests: backends that follow a script, a clock, an isolated start."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from retainit import MemoryConfig, TieredConfig, get_backend, register_backend, retain
from retainit.errors import BackendError, ConfigurationError
from retainit.testing import (
    Answers,
    FailingBackend,
    FakeClock,
    FlakyBackend,
    HangingBackend,
    RecordingBackend,
    SlowBackend,
)

pytest_plugins = ["pytester"]

WAITING: list[Answers] = ["blocking", "later"]
ALL: list[Answers] = [*WAITING, "inline"]


@pytest.fixture(params=["sync", "async"])
def cached(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a cached function, sync or async, that is called like a plain one and counts its runs."""

    def make(**options: Any) -> Any:
        runs: list[object] = []
        call: Any
        if request.param == "sync":

            @retain(**options)
            def run(x: object) -> list[object]:
                runs.append(x)
                return [len(runs), x]

            call, info = run, run.cache_info
        else:

            @retain(**options)
            async def run_later(x: object) -> list[object]:
                runs.append(x)
                return [len(runs), x]

            def call(x: object) -> Any:
                return asyncio.run(run_later(x))

            info = run_later.cache_info

        class Cached:
            cache_info = staticmethod(info)

            def __call__(self, x: object) -> Any:
                return call(x)

        return Cached()

    return make


@pytest.mark.parametrize("answers", ALL)
def test_a_backend_that_is_told_nothing_works_and_says_what_it_was_asked(
    cached: Callable[..., Any], answers: Answers
) -> None:
    backend = RecordingBackend(answers=answers, ttl=90)
    f = cached(backend=backend)
    assert (f("a"), f("a")) == ([1, "a"], [1, "a"])
    reads = [call for call in backend.calls if call.operation == "get"]
    writes = [call for call in backend.calls if call.operation == "set"]
    assert len(writes) == 1
    assert writes[0].ttl == pytest.approx(90, abs=1)
    assert writes[0].key == reads[0].key
    assert reads[0].ttl is None
    with FakeClock() as clock:
        f("b")
        clock.advance(60)
        f("c")
    _, second, third = [call for call in backend.calls if call.operation == "set"]
    assert third.time - second.time == pytest.approx(60)
    assert {(call.outcome, call.answered) for call in backend.calls} == {("proper", True)}
    backend.forget_calls()
    assert backend.calls == []


@pytest.mark.parametrize("answers", ALL)
@pytest.mark.parametrize("kind", ["busy", "retryable", "timeout", "corrupt", "fatal"])
def test_the_function_runs_when_a_backend_fails(
    cached: Callable[..., Any], answers: Answers, kind: Any
) -> None:
    backend = FailingBackend(answers=answers, kind=kind)
    f = cached(backend=backend)
    assert [f("a")[1], f("a")[1]] == ["a", "a"]
    assert f.cache_info().errors > 0
    assert f.cache_info().hits == 0
    assert "fail" in {call.outcome for call in backend.calls}


@pytest.mark.parametrize("answers", ALL)
def test_strict_raises_what_a_backend_fails_with(cached: Callable[..., Any], answers: Answers) -> None:
    backend = FailingBackend(answers=answers, message="no route to the store", **unbroken(answers))
    f = cached(backend=backend, strict=True)
    with pytest.raises(BackendError, match="no route to the store"):
        f("a")
    backend.restore()
    assert f("a") == f("a")


@pytest.mark.parametrize("answers", WAITING)
def test_a_hanging_backend_holds_a_call_for_its_timeout_and_answers_when_released(
    cached: Callable[..., Any], answers: Answers
) -> None:
    backend = HangingBackend(answers=answers, operation="get", timeout=0.05)
    f = cached(backend=backend)
    start = time.monotonic()
    assert f("a")[1] == "a"
    assert time.monotonic() - start < 5
    backend.wait_for("get", calls=1, waiting=1)
    assert f.cache_info().errors > 0
    hung = [call for call in backend.calls if call.outcome == "hang"]
    assert hung
    assert not any(call.answered for call in hung)
    backend.restore()
    assert settles(lambda: backend.waiting == 0 and all(call.answered for call in backend.calls))


@pytest.mark.parametrize("answers", WAITING)
def test_a_slow_backend_follows_the_fake_clock(answers: Answers) -> None:
    with FakeClock() as clock:
        backend = SlowBackend(answers=answers, operation="get", by="1h", timeout="1d")

        @retain(backend=backend)
        def f(x: str) -> str:
            return x

        found: list[str] = []
        caller = threading.Thread(target=lambda: found.append(f("a")))
        caller.start()
        backend.wait_for("get", calls=1, waiting=1)
        clock.advance("59m")
        caller.join(0.05)
        assert caller.is_alive(), "an hour has not passed"
        # A miss reads once more when it is its turn to run the function.
        for _ in range(100):
            clock.advance("61m")
            caller.join(0.1)
            if not caller.is_alive():
                break
        assert found == ["a"]
        assert backend.waiting == 0
        assert f.cache_info().errors == 0


@pytest.mark.parametrize("answers", WAITING)
def test_an_answer_after_its_timeout_is_no_answer(answers: Answers) -> None:
    with FakeClock() as clock:
        backend = RecordingBackend(answers=answers, timeout=1)

        @retain(backend=backend)
        def f(x: str) -> str:
            return x

        assert f("a") == "a"
        backend.late("1h", "get")
        caller = threading.Thread(target=f, args=("a",))
        caller.start()
        backend.wait_for("get", calls=2, waiting=1)
        # A timeout may be followed by one more try.
        for _ in range(100):
            clock.advance(1)
            caller.join(0.1)
            if not caller.is_alive():
                break
        assert not caller.is_alive()
        assert f.cache_info().errors >= 1
        assert backend.waiting >= 1, "the backend is still at it"
        clock.advance("2h")
        assert settles(lambda: backend.waiting == 0)


@pytest.mark.parametrize("answers", ALL)
def test_a_flaky_backend_fails_the_same_calls_in_every_run(answers: Answers) -> None:
    def outcomes(seed: int) -> list[str]:
        backend = FlakyBackend(
            answers=answers, operation="set", probability=0.3, seed=seed, **unbroken(answers)
        )

        @retain(backend=backend)
        def f(x: int) -> int:
            return x

        assert [f(x) for x in range(200)] == list(range(200))
        # What is safe to repeat is tried again, so there are more calls than writes.
        return [call.outcome for call in backend.calls if call.operation == "set"]

    first = outcomes(1)
    assert first == outcomes(1)
    assert first != outcomes(2)
    assert 0.2 < first.count("fail") / len(first) < 0.4


@pytest.mark.parametrize("answers", ALL)
def test_garbage_is_a_miss(cached: Callable[..., Any], answers: Answers) -> None:
    backend = RecordingBackend(answers=answers)
    f = cached(backend=backend)
    assert (f("a"), f("a")) == ([1, "a"], [1, "a"])
    backend.garbage()
    assert f("a") == [2, "a"]
    assert "garbage" in {call.outcome for call in backend.calls}
    backend.restore()
    assert f("a") == [2, "a"], "what the second run gave has replaced the first"


def test_a_second_answer_changes_nothing(cached: Callable[..., Any]) -> None:
    backend = RecordingBackend(answers="later")
    backend.answer_twice()
    f = cached(backend=backend)
    for x in range(20):
        assert f(x) == f(x) == [x + 1, x]
    assert f.cache_info().hits == 20
    assert {call.outcome for call in backend.calls} == {"twice"}


@pytest.mark.parametrize("answers", ALL)
def test_a_panic_stays_in_the_plugin(
    cached: Callable[..., Any], answers: Answers, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = RecordingBackend(answers=answers)
    backend.panic("get")
    f = cached(backend=backend)
    assert f("a") == [1, "a"]
    assert f.cache_info().errors >= 1
    backend.restore()
    assert f("a") == [1, "a"]
    assert "as the script says" in capfd.readouterr().err


def test_the_first_rule_that_concerns_a_call_decides() -> None:
    backend = RecordingBackend(circuit_breaker=False)

    @retain(backend=backend, key_builder="{x}")
    def f(x: str) -> str:
        return x

    backend.fail("set", key="*special*", kind="fatal", times=1)
    backend.fail("get", kind="fatal", times=2)
    for x in ("plain", "special", "special", "special"):
        assert f(x) == x
    gets = [call.outcome for call in backend.calls if call.operation == "get"]
    assert gets == ["fail", "fail"] + ["proper"] * (len(gets) - 2)
    sets = [
        (call.key.endswith(b"special"), call.outcome) for call in backend.calls if call.operation == "set"
    ]
    assert sets == [(False, "proper"), (True, "fail"), (True, "proper")]


def test_a_failing_tier_leaves_the_others_right() -> None:
    near, far = RecordingBackend(answers="inline"), RecordingBackend()

    @retain(backend=TieredConfig(tiers=[near, far]))
    def f(x: str) -> list[str]:
        return [x]

    far.fail()
    assert f("a") == f("a") == ["a"]
    assert f.cache_info().hits == 1
    far.restore()
    near.fail("get", times=1)
    f("b")
    for tier in (near, far):
        kept = [call for call in tier.calls if (call.operation, call.outcome) == ("set", "proper")]
        assert kept
        assert kept[-1].answered
    near.fail("get")
    assert f("b") == ["b"]
    assert f.cache_info().misses == 2, "the other tier had it"


def test_what_cannot_be_followed_is_refused_where_it_is_said() -> None:
    with pytest.raises(ConfigurationError, match="answers at once"):
        HangingBackend(answers="inline")
    with pytest.raises(ConfigurationError, match="unknown operation `gte`"):
        RecordingBackend().fail("gte")
    with pytest.raises(ConfigurationError, match="expected 0 to 1, found `2"):
        FlakyBackend(probability=2)
    with pytest.raises(ConfigurationError, match="expected a backend that answers later"):
        RecordingBackend().answer_twice()
    with pytest.raises(ConfigurationError, match="reads values"):
        RecordingBackend().garbage("set")
    with pytest.raises(ConfigurationError, match="argument `by` of `delay`"):
        RecordingBackend().delay(-1)
    with pytest.raises(ConfigurationError, match="option `answers` of `RecordingBackend`: expected one of"):
        RecordingBackend(answers="never")  # type: ignore[arg-type]
    with pytest.raises(TimeoutError, match="expected 1 calls of `get`"):
        RecordingBackend().wait_for("get", calls=1, timeout=0.01)


def test_the_record_is_bounded_and_backends_are_apart() -> None:
    one, other = RecordingBackend(max_calls=3), RecordingBackend()
    register_backend("one", one)
    register_backend("other", other)

    @retain(backend="one")
    def f(x: int) -> int:
        return x

    for x in range(5):
        f(x)
    assert len(one.calls) == 3
    assert other.calls == []
    assert get_backend("one").statistics()["one"]["entries"] == 5


def test_a_backend_that_nobody_has_any_more_leaves_nothing_behind() -> None:
    backend = RecordingBackend()
    script = backend._script

    @retain(backend=backend)
    def f(x: int) -> int:
        return x

    f(1)
    assert script.calls()
    del f, backend
    gc.collect()
    assert script.calls() == []
    script.command("close")


def test_what_hangs_is_answered_when_released() -> None:
    backend = RecordingBackend()
    backend.hang("get", times=1)

    @retain(backend=backend)
    def f(x: int) -> int:
        return x

    caller = threading.Thread(target=f, args=(1,))
    caller.start()
    backend.wait_for("get", calls=1, waiting=1)
    backend.release()
    caller.join(20)
    assert not caller.is_alive()
    assert f.cache_info().errors == 0, "it was answered properly"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_has_a_channel_of_its_own() -> None:
    backend = RecordingBackend()

    @retain(backend=backend)
    def f(x: int) -> int:
        return x

    def reads() -> int:
        return sum(call.operation == "get" for call in backend.calls)

    f(1)
    seen = reads()
    child = os.fork()
    if child == 0:
        try:
            fine = reads() == 0 and f(1) == 1 and reads() > 0
        except BaseException:
            fine = False
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert reads() == seen


def test_the_clock_moves_by_what_it_is_told_and_there_is_one() -> None:
    @retain(backend=MemoryConfig(), ttl="10m")
    def f(x: int) -> object:
        return object()

    with FakeClock() as clock:
        first = f(1)
        clock.advance("9m")
        assert f(1) is first
        assert clock.now == 540
        with pytest.raises(ConfigurationError, match="found one that is in use"), FakeClock():
            pass
        clock.advance(61)
        assert f(1) is not first
        with pytest.raises(ConfigurationError, match="argument of `FakeClock"):
            clock.advance(-1)
    with pytest.raises(ConfigurationError, match="outside its `with` block"):
        clock.advance(1)
    with FakeClock() as again:
        assert again.now == 0
    again.start()
    again.advance(1)
    assert again.now == 1
    again.stop()
    with pytest.raises(ConfigurationError, match="stop`: expected a clock in use"):
        again.stop()


def test_the_clock_runs_again_after_an_exception() -> None:
    @retain(backend=MemoryConfig(), ttl=0.02)
    def f(x: int) -> object:
        return object()

    with pytest.raises(ZeroDivisionError), FakeClock():
        raise ZeroDivisionError
    first = f(1)
    assert settles(lambda: f(1) is not first)


def test_the_fixtures_isolate_each_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["retainit.testing.pytest_plugin"]')
    pytester.makepyfile(
        """
        import pytest
        from retainit import MemoryConfig, get_backend, register_backend, retain
        from retainit.errors import ConfigurationError
        from retainit.testing import FakeClock

        runs = []

        @retain(ttl="1h")
        def f(x):
            runs.append(x)
            return x

        @pytest.mark.parametrize("number", [1, 2])
        def test_nothing_is_cached_or_registered(retainit_isolated, number):
            f(1)
            assert len(runs) == number
            with pytest.raises(ConfigurationError):
                get_backend("mine")
            register_backend("mine", MemoryConfig())

        def test_the_clock_is_fake(retainit_clock):
            f(1)
            retainit_clock.advance("61m")
            f(1)
            assert len(runs) == 4

        def test_the_clock_is_free_again():
            with FakeClock():
                pass
        """
    )
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(passed=4)


def unbroken(answers: Answers) -> dict[str, Any]:
    """No circuit breaker, where there could be one."""
    return {} if answers == "inline" else {"circuit_breaker": False}


def settles(condition: Callable[[], bool]) -> bool:
    """Whether it comes to be so, given time."""
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
