"""A typical API response, as a tree and back: rows of dicts with text, numbers, flags, lists and dicts.

The response has gone through JSON before it is measured, as one from outside has: keys of rows are one
object, texts are not. Everybody writes the same value; what they give back is compared with it first.
"""

from __future__ import annotations

import json
import marshal
import pickle
import random
from collections.abc import Callable
from importlib import import_module
from typing import Any

from harness import Contender, Ratio, Report, Settings, interleave, judge_ratio, medians, repeated

RETAINIT, PICKLE = "retainit, tree", "pickle"
# Rows that make so many bytes.
SIZES = {"2 KB": 7, "200 KB": 790}
# At least as fast as these, both ways.
PEERS = ("msgpack", "ormsgpack")
# What loading aims at: half of pickle's time.
LOAD_AIM = 0.5

Both = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]


def measure(settings: Settings, report: Report) -> None:
    peers, skipped = _peers()
    report.skipped += skipped
    for size, rows in SIZES.items():
        value = json.loads(json.dumps(response(rows)))
        stored = {name: dump(value) for name, (dump, _) in peers.items()}
        for name, (_, load) in peers.items():
            if load(stored[name]) != value:
                raise AssertionError(f"{name} does not give back what it was given")
        dumps = [Contender(name, repeated("f(x)", f=dump, x=value)) for name, (dump, _) in peers.items()]
        loads = [
            Contender(name, repeated("f(x)", f=load, x=stored[name])) for name, (_, load) in peers.items()
        ]
        for way, contenders in (("dumps", dumps), ("loads", loads)):
            samples = interleave(contenders, settings)
            report.medians[f"{way}, {size}"] = medians(samples)
            for peer in PEERS:
                if peer in samples:
                    _judge(report, samples, f"{way} of a response of {size}", peer, 1.0)
            if way == "loads":
                _judge(report, samples, f"loads of a response of {size}", PICKLE, LOAD_AIM)
    report.notes.append(
        "Trees keep what JSON and plain MessagePack do not (tuples, sets, int keys, dates, big ints); "
        "pickle and marshal are of the newest protocol."
    )


def _judge(report: Report, samples: dict[str, list[float]], work: str, against: str, aim: float) -> None:
    ratio = Ratio.of(samples, RETAINIT, against)
    report.add(work, f"at most {aim} x", ratio, against, judge_ratio(ratio, aim, "at most"))


def _peers() -> tuple[dict[str, Both], list[str]]:
    """Everybody's two functions, and a line for each that cannot be imported here."""
    native = import_module("retainit._native")
    found: dict[str, Both] = {
        RETAINIT: (native.dump_tree, native.load_tree),
        PICKLE: (lambda value: pickle.dumps(value, 5), pickle.loads),
        "marshal": (marshal.dumps, marshal.loads),
    }
    skipped = []
    for name, dump, load in (
        ("msgpack", "packb", "unpackb"),
        ("ormsgpack", "packb", "unpackb"),
        ("orjson", "dumps", "loads"),
    ):
        try:
            module = import_module(name)
            found[name] = (getattr(module, dump), getattr(module, load))
        except Exception as reason:  # whatever a broken installation raises is the reason to print
            skipped.append(f"{name}: {type(reason).__name__}: {reason}")
    return found, skipped


def response(rows: int) -> dict[str, Any]:
    chance = random.Random(7)
    return {
        "data": [_row(chance, number) for number in range(rows)],
        "page": 1,
        "per_page": rows,
        "total": 12_345,
        "next": f"https://api.example.com/v1/users?page=2&per_page={rows}",
        "complete": False,
    }


def _row(chance: random.Random, number: int) -> dict[str, Any]:
    first = chance.choice(["Anna", "Björn", "Chen", "Dmitri", "Élodie", "Fatima", "George", "Hiro"])
    last = chance.choice(["Smith", "García", "Lee", "Novak", "Okafor", "Rossi"])
    return {
        "id": 100_000 + number * 7,
        "name": f"{first} {last}",
        "email": f"user{chance.randrange(10**6)}@example.com",
        "active": chance.random() < 0.7,
        "score": round(chance.random() * 100, 3),
        "balance": chance.randrange(-(10**6), 10**6) / 100,
        "tags": chance.sample(["admin", "beta", "staff", "vip", "trial", "eu", "us"], 3),
        "address": {
            "street": f"{chance.randrange(1, 200)} Main Street",
            "city": chance.choice(["Berlin", "Paris", "New York", "Tokyo"]),
            "zip": f"{chance.randrange(10**5):05d}",
            "location": {"lat": chance.uniform(-90, 90), "lon": chance.uniform(-180, 180)},
        },
        "manager": None if chance.random() < 0.3 else chance.randrange(10**6),
        "created_at": f"2026-0{chance.randrange(1, 10)}-{chance.randrange(10, 28)}T12:00:00Z",
    }
