"""What shares a name with others, and does not share their entries outside the process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import retainit
from retainit import DiskConfig, UnkeyableError, UnkeyableWarning, retain

Python = Callable[..., str]


@pytest.fixture(autouse=True)
def disk() -> None:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))


def power(base: int, exponent: int) -> int:
    return int(base**exponent)


class Multiplied:
    def __init__(self, by: int) -> None:
        self.by = by

    def __retain_key__(self) -> int:
        return self.by

    def __call__(self, x: int) -> int:
        return x * self.by

    def method(self, x: int) -> int:
        return x * self.by

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"


class Others(Multiplied):
    pass


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (functools.partial(power, 2), functools.partial(power, 3)),
        (functools.partial(power, exponent=2), functools.partial(power, exponent=3)),
        (functools.partial(functools.partial(power), 2), functools.partial(functools.partial(power), 3)),
        (Multiplied(2), Multiplied(3)),
        (Multiplied(2).method, Multiplied(3).method),
        (Multiplied.of_class, Others.of_class),
        ("a b c".count, "b a b".count),
        (functools.partial(Multiplied(2)), functools.partial(Multiplied(3))),
    ],
    ids=["partial", "keyword", "nested", "object", "method", "class method", "built-in", "partial object"],
)
def test_what_a_function_is_bound_to_parts_it_from_others(one: Any, other: Any) -> None:
    argument = "b" if callable(one) and getattr(one, "__name__", "") == "count" else 5
    expected = [one(argument), other(argument)]
    assert expected[0] != expected[1]
    for _ in range(2):
        assert [retain(backend="disk")(each)(argument) for each in (one, other)] == expected
        retainit.shutdown()
    again = retain(backend="disk")(one)
    again(argument)
    assert again.cache_info().hits == 1, "and what is the same is found again"


class Keyless:
    def __call__(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    "bound", [Keyless(), functools.partial(lambda x, y: y, Keyless()), Keyless().__call__]
)
def test_what_is_bound_to_something_without_a_key_stays_inside(bound: Any) -> None:
    with pytest.warns(UnkeyableWarning, match="is kept inside the process only: it is"):
        tiers = retain(backend=["memory", "disk"])(bound).cache_parameters()["tiers"]
    assert tiers == ["memory"]
    with pytest.raises(UnkeyableError, match="is kept inside the process only"):
        retain(backend="disk", strict=True)(bound)(1)


def test_the_constants_of_nested_functions_have_no_order(python: Python) -> None:
    # Sets of text are in another order in every process.
    program = """
import sys
import retainit
from retainit import DiskConfig, retain

retainit.register_backend("disk", DiskConfig(base_path="cache"))

def make():
    @retain(backend="disk")
    def f(x):
        return x in {"a", "b", "c", "d", "e", "f"}
    return f

f = make()
f("a")
print(f.cache_info().hits)
"""
    assert [python(program) for _ in range(4)] == ["0\n", "1\n", "1\n", "1\n"]


PROGRAM = """
import sys, threading
import retainit
from retainit import DiskConfig, retain

retainit.register_backend("disk", DiskConfig(base_path="cache"))

@retain(backend="disk")
def f(x):
    return NAME

def show():
    print(f(1), f.cache_info().hits, flush=True)
"""


def run(python: Python, name: str, last: str = "show()") -> str:
    program = PROGRAM.replace("NAME", repr(name)) + last
    Path(f"{name}.py").write_text(program)
    return python(f"import subprocess, sys; subprocess.run([sys.executable, '{name}.py'], check=True)")


def test_functions_of_two_programs_are_two(python: Python) -> None:
    assert run(python, "one") == "one 0\n"
    assert run(python, "two") == "two 0\n"
    assert run(python, "one") == "one 1\n"
    # Threads run on after the last line, when Python has taken away what says which program it is.
    late = "threading.Thread(target=lambda: (threading.main_thread().join(), show())).start()"
    assert run(python, "two", late) == "two 1\n"


def test_functions_of_a_module_that_is_run_are_the_modules(python: Python) -> None:
    Path("package").mkdir()
    Path("package/__init__.py").touch()
    Path("package/module.py").write_text(
        PROGRAM.replace("NAME", repr("it")) + "\nif __name__ == '__main__':\n    show()\n"
    )
    start = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'package.module'], check=True)"
    assert python(start) == "it 0\n"
    assert python(start) == "it 1\n"


def test_functions_that_were_typed_in_are_their_code(python: Python) -> None:
    def typed(result: int) -> str:
        program = f"{PROGRAM.replace('NAME', str(result))}\nshow()"
        return python(
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"
        )

    assert [typed(1), typed(2), typed(1)] == ["1 0\n", "2 0\n", "1 1\n"]


def test_spawned_processes_share_what_the_program_stored(python: Python) -> None:
    out = python(
        """
import multiprocessing, os
import retainit
from retainit import DiskConfig, retain

retainit.register_backend("disk", DiskConfig(base_path="cache"))

@retain(backend="disk")
def f(x):
    return os.getpid()

if __name__ == "__main__":
    parent = f(1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(f, [1, 2])[0] == parent == os.getpid(), f(2) != parent)
        pool.close()
        pool.join()
"""
    )
    assert out == "True True\n"
