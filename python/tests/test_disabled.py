"""Switching caching off, for a block, a function, a task."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

from retainit import _native
from retainit._disabled import disabled, is_disabled
from retainit.errors import ConfigurationError


def test_a_block() -> None:
    assert not is_disabled()
    with disabled():
        assert is_disabled()
        with disabled():
            assert is_disabled()
        assert is_disabled()
    assert not is_disabled()


def test_the_end_comes_with_an_exception_too() -> None:
    with pytest.raises(KeyError), disabled():
        raise KeyError
    assert not is_disabled()


def test_one_object_may_be_entered_again() -> None:
    again = disabled()
    with again:
        with again:
            assert is_disabled()
        assert is_disabled()
    assert not is_disabled()
    with again:
        assert is_disabled()


def test_functions() -> None:
    @disabled()
    def function(a: int, *, b: int) -> tuple[int, int, bool]:
        """Docstring."""
        return a, b, is_disabled()

    assert function(1, b=2) == (1, 2, True)
    assert (function.__name__, function.__doc__) == ("function", "Docstring.")
    assert not is_disabled()


def test_coroutine_functions() -> None:
    @disabled()
    async def function() -> bool:
        await asyncio.sleep(0)
        return is_disabled()

    async def main() -> None:
        assert await function()
        assert not is_disabled()
        async with disabled():
            assert is_disabled()
        assert not is_disabled()

    asyncio.run(main())


def test_generator_functions_are_refused() -> None:
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigurationError, match="found the generator function"):
        disabled()(generator)


def test_other_threads_and_tasks_are_not_concerned() -> None:
    seen: list[bool] = []
    with disabled():
        thread = threading.Thread(
            target=contextvars.Context().run, args=(lambda: seen.append(is_disabled()),)
        )
        thread.start()
        thread.join()
    assert seen == [False]

    async def main() -> tuple[bool, bool]:
        inside, outside = asyncio.Event(), asyncio.Event()

        async def one() -> bool:
            async with disabled():
                inside.set()
                await outside.wait()
                return is_disabled()

        async def other() -> bool:
            await inside.wait()
            answer = is_disabled()
            outside.set()
            return answer

        first, second = await asyncio.gather(one(), other())
        return first, second

    assert asyncio.run(main()) == (True, False)


def test_a_task_begun_inside_is_free_when_the_block_ends() -> None:
    async def main() -> list[bool]:
        seen: list[bool] = []
        ended = asyncio.Event()

        async def child() -> None:
            seen.append(is_disabled())
            await ended.wait()
            seen.append(is_disabled())

        with disabled():
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
        ended.set()
        await task
        return seen

    assert asyncio.run(main()) == [True, False]


def test_a_block_may_end_in_another_context() -> None:
    block = disabled()
    contextvars.Context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert not is_disabled()


def test_the_hot_path_is_told_of_the_first_block_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, bool]] = []
    monkeypatch.setattr(_native, "set_attention", lambda bit, on: told.append((bit, on)))
    with disabled(), disabled():
        pass
    with disabled():
        pass
    bit = _native.ATTENTION_DISABLED
    assert told == [(bit, True), (bit, False), (bit, True), (bit, False)]
