"""The table in docs/keys.md is what the encoder does."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import re
import uuid

import pytest

from retainit import _native

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "keys.md"
TYPES = {
    "datetime": datetime,
    "decimal": decimal,
    "fractions": fractions,
    "pathlib": pathlib,
    "uuid": uuid,
}
VECTORS = re.findall(r"^\| `(.+)` \| `([0-9a-f]+)` \|$", DOCUMENT.read_text(), re.MULTILINE)


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 30
    assert len({encoding for _, encoding in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize(("value", "encoding"), VECTORS)
def test_vector(value: str, encoding: str) -> None:
    assert _native.encode(eval(value, TYPES)).hex() == encoding
