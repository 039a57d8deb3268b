"""The package's names: which there are, what importing them costs, and that stubs know them all."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import retainit
from retainit import _native

PACKAGE = Path(retainit.__file__).parent


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", retainit.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    assert getattr(retainit, name) is getattr(retainit, name)
    assert name in dir(retainit)
    assert run(f"from retainit import {name}; print({name} is not None)") == "True\n"


def test_all_public_names_are_listed() -> None:
    later = vars(retainit)["_LATER"]
    assert set(later) <= set(retainit.__all__)
    names = {name for name, value in vars(retainit).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert names - {"TYPE_CHECKING"} <= set(retainit.__all__)


def test_checkers_import_late_names_from_where_they_are() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (condition,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module.removeprefix("retainit.")
        for node in condition.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert imported == vars(retainit)["_LATER"]


def test_other_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module `retainit` has no attribute `retian`"):
        retainit.retian  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the list of what is loaded is Linux's")
def test_importing_loads_no_plugin_and_a_call_the_one_it_needs() -> None:
    loaded = (
        "print(*{line.split('/')[-1].strip() for line in open('/proc/self/maps') if 'libretainit' in line});"
    )
    call = "f = retainit.retain(lambda x: {'x': [x]}); f(1); f(1);"
    before, after = run(f"import retainit; {loaded} {call} {loaded}").split("\n")[:2]
    assert before == ""
    assert after == "libretainit_memory.so"


def test_importing_imports_little() -> None:
    # Each of these takes longer than all of the package.
    slow = {"asyncio", "dataclasses", "hashlib", "importlib.metadata", "inspect", "json", "pathlib", "typing"}
    imported = run(
        "import sys; before = set(sys.modules); import retainit; print(*sorted(set(sys.modules) - before))"
    )
    assert "retainit._function" in imported.split()
    assert not slow & set(imported.split())


def test_a_function_that_is_only_decorated_opens_nothing() -> None:
    imported = run(
        "import sys; import retainit; retainit.retain(lambda x: x); print(*sorted(sys.modules))"
    ).split()
    assert "retainit._cached" in imported
    assert "retainit._registry" not in imported


def stubs() -> dict[str, ast.stmt]:
    """What the stub declares, but for what only type checkers know."""
    tree = ast.parse((PACKAGE / "_native.pyi").read_text(encoding="utf-8"))
    named: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            if not any(ast.unparse(each) == "type_check_only" for each in node.decorator_list):
                named[node.name] = node
        elif isinstance(node, ast.FunctionDef):
            named[node.name] = node
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith("Final"):
            named[ast.unparse(node.target)] = node
    return named


def test_every_native_name_has_a_stub() -> None:
    assert set(stubs()) == {name for name in dir(_native) if not name.startswith("__")}


def test_stubs_have_the_parameters_of_native_functions() -> None:
    checked = 0
    for name, node in stubs().items():
        if isinstance(node, ast.FunctionDef):
            defaults = len(node.args.defaults)
            parameters = list(inspect.signature(getattr(_native, name)).parameters.values())
            assert [each.arg for each in node.args.args] == [each.name for each in parameters], name
            assert sum(each.default is not each.empty for each in parameters) == defaults, name
            checked += 1
    assert checked > 30


def test_stubs_have_the_members_of_native_classes() -> None:
    for name, node in stubs().items():
        if isinstance(node, ast.ClassDef):
            members = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            native = {member for member in vars(getattr(_native, name)) if member[0] != "_"}
            # What becomes of the type when the first function is decorated is written in Python.
            native = {member for member in native if not member.startswith("cache_")}
            assert {member for member in members if member[0] != "_"} == native, name
