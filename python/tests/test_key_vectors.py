"""The tables in docs/keys.md are what the encoder does."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import re
import types
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import specified_keys

from retainit import _native

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "keys.md"
NAMES = {
    **{module.__name__: module for module in (collections, datetime, decimal, fractions, ipaddress, pathlib)},
    **{module.__name__: module for module in (re, types, uuid, zoneinfo)},
    "np": np,
    "pa": pa,
    "pd": pd,
    "pl": pl,
}
VECTORS = re.findall(r"^\| `(.+)` \| `([0-9a-f]+)` \|$", DOCUMENT.read_text(), re.MULTILINE)


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 30
    assert len({encoding for _, encoding in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize(("value", "encoding"), VECTORS)
def test_vector(value: str, encoding: str) -> None:
    assert _native.encode(eval(value, dict(NAMES))).hex() == encoding


def test_what_is_specified_gives_the_same() -> None:
    followed = 0
    for text, encoding in VECTORS:
        value = eval(text, dict(NAMES))
        try:
            expected = specified_keys.encode(value)
        except TypeError:
            continue  # not one of the types that the second implementation has
        assert expected.hex() == encoding, text
        followed += 1
    assert followed > 40
