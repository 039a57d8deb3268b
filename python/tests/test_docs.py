"""The documentation's snippets, run as they stand.

The Python blocks of a page are one program, in a new process and an empty folder, with warnings as errors. A
YAML block that begins with a comment naming its file is that file, there before the program starts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def test_there_are_pages_with_snippets() -> None:
    assert sum(bool(blocks(page, "python")) for page in PAGES) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_snippets_of_the_page_run(page: Path, tmp_path: Path) -> None:
    program = "\n".join(blocks(page, "python"))
    for text in blocks(page, "yaml"):
        named = re.match(r"# (\S+\.yaml)\b", text)
        if named:
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
    (tmp_path / "page.py").write_text(program, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("page", "heading", "files"),
    [
        (
            "guide/failures.md",
            "## What a backend may do",
            [
                "tests/tests/failures.rs",
                "tests/tests/missed.rs",
                "tests/tests/faults.rs",
                "python/tests/test_failures.py",
            ],
        ),
        (
            "freshness.md",
            "## Faults",
            [
                "core/src/freshness.rs",
                "python/tests/test_freshness.py",
                "python/tests/test_stampede.py",
                "python/tests/test_unruly.py",
            ],
        ),
    ],
)
def test_the_fault_tables_name_tests_that_exist(page: str, heading: str, files: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+_\w+_\w+_\w+)`", text[text.index(heading) :])
    sources = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    assert len(named) > 10
    assert [name for name in named if f"{name}(" not in sources] == []
