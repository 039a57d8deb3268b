"""What backends are asked by many calls together, and what comes of it when they fail."""

from __future__ import annotations

from typing import Any

import pytest
from many_calls import FLAVOURS, Made

import retainit
from retainit import BackendError
from retainit.testing import FailingBackend, RecordingBackend


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked(backend: RecordingBackend) -> list[tuple[str, int]]:
    """The operations since this was last asked, and of how many keys each."""
    calls = [(call.operation, len(call.keys)) for call in backend.calls]
    backend.forget_calls()
    return calls


@pytest.mark.parametrize("answers", ["blocking", "later"])
def test_each_tier_is_asked_once_and_told_once(flavour: str, answers: Any) -> None:
    near, far = RecordingBackend(answers="inline"), RecordingBackend(answers=answers)
    made = Made(flavour, backend=[near, far])
    made.many(range(50), batch=made.batch)
    # Memory is only looked at before anything is led, so that hits there cost nothing else.
    assert asked(near) == [("get_many", 50), ("get_many", 50), ("set_many", 50)]
    assert asked(far) == [("get_many", 50), ("set_many", 50)]
    made.many(range(50))
    assert asked(near) == [("get_many", 50)]
    assert asked(far) == []
    other = Made(flavour, backend=[near, far])
    assert other.many(range(60), batch=other.batch) == [["batch", n] for n in range(60)]
    assert other.batches == [list(range(50, 60))]
    assert asked(near) == [("get_many", 60), ("get_many", 60), ("set_many", 50), ("set_many", 10)]
    assert asked(far) == [("get_many", 60), ("set_many", 10)]


@pytest.mark.parametrize("operation", ["get_many", "set_many", "*"])
def test_a_backend_that_fails_fails_nobody(flavour: str, operation: str) -> None:
    made = Made(flavour, backend=FailingBackend(operation=operation))
    assert made.many([1, 2, 1]) == [[1, 2], [2, 2], [1, 2]]
    assert made.many([3, 4], batch=made.batch) == [["batch", 3], ["batch", 4]]
    assert made.f.cache_info().errors > 0


def test_a_backend_that_fails_is_a_strict_functions_failure(flavour: str) -> None:
    backend = FailingBackend(operation="set_many")
    made = Made(flavour, backend=backend, strict=True)
    with pytest.raises(BackendError):
        made.many([1, 2], batch=made.batch)
    backend.restore()
    assert made.many([1, 2]) == [[1, 2], [2, 2]]


def test_a_backend_that_answers_garbage_is_as_if_it_were_empty(flavour: str) -> None:
    backend = RecordingBackend()
    made = Made(flavour, backend=backend)
    made.many([1, 2])
    backend.garbage("get_many")
    assert made.many([1, 2], batch=made.batch) == [["batch", 1], ["batch", 2]]
    assert made.f.cache_info().errors == 2


def test_nothing_is_asked_without_a_cache(flavour: str) -> None:
    backend = RecordingBackend()
    made = Made(flavour, backend=backend)
    with retainit.disabled():
        made.many([1, 2])
        made.many([1, 2], batch=made.batch)
    assert asked(backend) == []
