"""A function worth caching, cached: parse and measure every source file of Python's standard library.

Six passes over the same files, of a function and of a coroutine function: cold, warm from memory, and, in a
new process, warm from disk. `cargo xtask demo` builds the package and runs this file.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from retainit import DiskConfig, MemoryConfig, register_backend, retain, shutdown
from retainit._native import load_plugin

Measures = dict[str, int]

BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.BoolOp, ast.IfExp, ast.comprehension)


def parse_and_measure(path: str) -> Measures:
    """What one source file is made of. It takes milliseconds, and the same file gives the same answer."""
    source = Path(path).read_bytes()
    try:
        tree = ast.parse(source)
    except SyntaxError:  # the test suite keeps files that are wrong on purpose
        return {"bytes": len(source), "unparsable": 1}
    kinds = Counter(type(node) for node in ast.walk(tree))
    return {
        "bytes": len(source),
        "lines": source.count(b"\n"),
        "nodes": kinds.total(),
        "functions": kinds[ast.FunctionDef] + kinds[ast.AsyncFunctionDef],
        "classes": kinds[ast.ClassDef],
        "branches": sum(kinds[kind] for kind in BRANCHES),
        "depth": depth(tree),
    }


def depth(tree: ast.AST) -> int:
    """The deepest nesting of the tree."""
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return deepest


@retain(backend=["near", "far"], ttl="1h", namespace="demo")
def measure(path: str) -> Measures:
    return parse_and_measure(path)


@retain(backend=["near", "far"], ttl="1h", namespace="demo")
async def measure_async(path: str) -> Measures:
    return parse_and_measure(path)


class Pass(NamedTuple):
    """One pass over all files: its name, what it took, and what the function's counters say."""

    name: str
    seconds: float
    hits: int
    misses: int
    total: Measures


def timed_pass(name: str, function: Any, run: Callable[[], list[Measures]]) -> Pass:
    before = function.cache_info()
    start = time.perf_counter()
    measured = run()
    seconds = time.perf_counter() - start
    after = function.cache_info()
    total = Counter[str]()
    for measures in measured:
        total.update(measures)
    return Pass(name, seconds, after.hits - before.hits, after.misses - before.misses, dict(total))


def sync_pass(name: str, files: list[str]) -> Pass:
    return timed_pass(name, measure, lambda: [measure(file) for file in files])


def async_pass(name: str, files: list[str]) -> Pass:
    async def all_of_them() -> list[Measures]:
        return [await measure_async(file) for file in files]

    return timed_pass(name, measure_async, lambda: asyncio.run(all_of_them()))


def standard_library() -> list[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    apart = {"site-packages", "dist-packages", "__pycache__"}
    files = (path for path in folder.rglob("*.py") if apart.isdisjoint(path.parts))
    return sorted(map(str, files))


def in_new_process(folder: str) -> tuple[list[Pass], list[str]]:
    """The two warm passes of a process that has only the disk to go by."""
    command = [sys.executable, __file__, "--second-process", folder]
    answer = json.loads(subprocess.check_output(command))
    return [Pass(*fields) for fields in answer["passes"]], answer["plugins"]


def configure(folder: str, entries: int) -> None:
    register_backend("near", MemoryConfig(max_size=4 * entries))
    register_backend("far", DiskConfig(base_path=folder))


def second_process(folder: str) -> None:
    files = standard_library()
    configure(folder, len(files))
    passes = [
        sync_pass("new process, from disk", files),
        async_pass("new process, from disk", files),
    ]
    print(json.dumps({"passes": passes, "plugins": plugin_lines()}))


def plugin_lines() -> list[str]:
    """Each backend's library; both are in use by now, so this loads nothing."""
    return [f"{name:<8} {load_plugin(name)}" for name in ("memory", "disk")]


def show(kind: str, passes: list[Pass], files: int) -> None:
    cold = passes[0].seconds
    for one in passes:
        row = f"{kind:<6}{one.name:<24}{one.seconds * 1e3:>12.1f}{one.seconds / files * 1e6:>14.1f}"
        print(f"{row}{cold / one.seconds:>11.0f} x{one.hits:>8}{one.misses:>9}")


def main() -> int:
    files = standard_library()
    print(f"measuring {len(files)} source files of Python {sys.version.split()[0]}'s standard library\n")
    with tempfile.TemporaryDirectory(prefix="retainit-demo-") as folder:
        configure(folder, len(files))
        sync = [sync_pass("cold", files), sync_pass("warm, from memory", files)]
        coroutine = [async_pass("cold", files), async_pass("warm, from memory", files)]
        (sync_again, async_again), child_plugins = in_new_process(folder)
        sync.append(sync_again)
        coroutine.append(async_again)
        plugins = plugin_lines()
        shutdown()  # before the folder goes

    titles = f"{'':<6}{'':<24}{'total ms':>12}{'us per file':>14}{'speed-up':>13}{'hits':>8}{'misses':>9}"
    print(f"{titles}\n{'-' * len(titles)}")
    show("sync", sync, len(files))
    show("async", coroutine, len(files))

    print("\nplugins loaded at run time:")
    for line in dict.fromkeys(plugins + child_plugins):
        print(f"  {line}")

    problems = [
        f"{one.name}: not the cold pass's answer" for one in sync + coroutine if one.total != sync[0].total
    ]
    for one in (*sync[1:], *coroutine[1:]):
        if (one.hits, one.misses) != (len(files), 0):
            problems.append(f"{one.name}: {one.hits} hits and {one.misses} misses, expected only hits")
    for problem in problems:
        print(f"wrong: {problem}", file=sys.stderr)
    if not problems:
        total = sync[0].total
        parts = ", ".join(f"{total[what]} {what}" for what in ("lines", "functions", "nodes"))
        print(f"\nall six passes agree: {parts}")
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--second-process", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.second_process:
        second_process(arguments.second_process)
    else:
        sys.exit(main())
