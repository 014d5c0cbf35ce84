"""What each task of the soak is: its number decides what it does, how it may end, and what it returns.

No broker in here: producers submit by it, and the test checks by it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from PIL import Image

import workbench as wb
from workbench.core.states import State

LARGE = 5_000  # times an answer of 16 characters: 80 kB, while a value of up to 64 KiB travels inside a message
BASES = 10
"""Different pictures, and different tables."""
ROWS = 500

# Of 10,000 tasks. The rest is brief.
SHARES = {
    "large": 100,
    "given": 60,
    "lasting": 60,
    "flaky": 100,
    "hopeless": 30,
    "unlucky": 30,
    "crashing": 6,
    "deadly": 2,
    "endless": 4,
    "cancelled": 60,
    "expiring": 100,
    "thumbnail": 150,
    "groupby": 120,
    "convert": 80,
}
BRIEF = "brief"
_DONE = frozenset({State.SUCCEEDED})
_FAILED = frozenset({State.FAILED})
# A chaos that kills slots costs attempts of its own.
_SOON = wb.RetryPolicy(attempts=8, delay=0.3)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One task."""

    number: int
    kind: str
    operation: str
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = {}
    ends: frozenset[State] = _DONE
    failure: str = ""  # its type, where the task fails
    dead: bool = False  # whether it lies among the dead letters in the end
    cancel_after: float | None = None

    @property
    def counted(self) -> bool:
        """Whether its executions are in the journal."""
        return self.operation.startswith("text.")


def kind_of(number: int) -> str:
    """Return what kind of task a number is."""
    draw = random.Random(number).randrange(10_000)
    for kind, share in SHARES.items():
        draw -= share
        if draw < 0:
            return kind
    return BRIEF


def plan(number: int, directory: Path) -> Plan:
    """Return the task of a number; its files lie in `directory`."""
    kind = kind_of(number)
    chance = random.Random(-number - 1)
    text: dict[str, Any] = {"number": number, "directory": str(directory)}
    match kind:
        case "given":
            return Plan(number=number, kind=kind, operation="text.given", kwargs={**text, "data": given(number)})
        case "lasting":
            seconds = chance.uniform(0.5, 3.0)
            return _text(number, kind, "lasting", text, {"seconds": seconds}, {"retry": _SOON})
        case "flaky":
            return _text(number, kind, "flaky", text, {"failures": chance.randint(1, 2)}, {"retry": _SOON})
        case "hopeless":
            retry = wb.RetryPolicy(attempts=2, delay=0.3)
            return _failing(number, kind, "flaky", text, {"failures": 1000}, {"retry": retry}, "ConnectionError", True)
        case "unlucky":
            return _failing(number, kind, "flaky", text, {"failures": 1000}, {}, "ConnectionError", False)
        case "crashing":
            return _text(number, kind, "crashing", text, {"crashes": 1}, {"retry": _SOON})
        case "deadly":
            return _failing(number, kind, "crashing", text, {"crashes": 1000}, {}, "WorkerProcessDied", True)
        case "endless":
            return _failing(number, kind, "endless", text, {}, {"timeout": 0.5}, "TimeLimitExceeded", False)
        case "cancelled":
            ends = frozenset({State.CANCELLED, State.SUCCEEDED})  # the order may come too late, or not at all
            plan = _text(number, kind, "lasting", text, {"seconds": 4.0}, {"retry": _SOON})
            return msgspec.structs.replace(plan, ends=ends, cancel_after=chance.choice([0.0, 0.3, 1.0]))
        case "expiring":
            ends = frozenset({State.EXPIRED, State.SUCCEEDED})
            plan = _text(number, kind, "brief", text, {}, {"expires": chance.choice([0.001, 0.1, 1.0])})
            return msgspec.structs.replace(plan, ends=ends)
        case "thumbnail":
            file = str(directory / "inputs" / f"{number}.png")
            kwargs: dict[str, Any] = {"image": file, "size": _size(number)}
            return Plan(number=number, kind=kind, operation="image.thumbnail", kwargs=kwargs)
        case "groupby":
            file = str(directory / "inputs" / f"{number}.csv")
            kwargs = {"data": file, "by": "key", "agg": {"value": "sum"}}
            return Plan(number=number, kind=kind, operation="data.groupby", kwargs=kwargs)
        case "convert":
            file = str(directory / "inputs" / f"{number}.csv")
            return Plan(
                number=number, kind=kind, operation="convert.table", kwargs={"source": file, "to": _format(number)}
            )
    return _text(number, kind, kind, text, {}, {})


def _text(
    number: int, kind: str, operation: str, text: Mapping[str, Any], more: Mapping[str, Any], options: dict[str, Any]
) -> Plan:
    return Plan(number=number, kind=kind, operation=f"text.{operation}", kwargs={**text, **more}, options=options)


def _failing(
    number: int,
    kind: str,
    operation: str,
    text: Mapping[str, Any],
    more: Mapping[str, Any],
    options: dict[str, Any],
    failure: str,
    dead: bool,
) -> Plan:
    plan = _text(number, kind, operation, text, more, options)
    return msgspec.structs.replace(plan, ends=_FAILED, failure=failure, dead=dead)


# --- what comes back -------------------------------------------------------------------------------


def answer(number: int) -> str:
    """Return 16 characters that only this number has."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def given(number: int) -> bytes:
    """Return the argument of a task that is given much."""
    return answer(number).encode() * LARGE


def is_right(plan: Plan, value: object) -> bool:
    """Return whether this is the result of a task."""
    match plan.kind:
        case "large":
            return value == answer(plan.number) * LARGE
        case "given":
            return value == hashlib.sha256(given(plan.number)).hexdigest()
        case "thumbnail":
            picture = _picture(plan.number % BASES)
            picture.thumbnail(_size(plan.number), Image.Resampling.LANCZOS)
            return isinstance(value, Image.Image) and value.tobytes() == picture.tobytes()
        case "groupby":
            sums = _table(plan.number % BASES).groupby("key")["value"].sum()
            return isinstance(value, pd.DataFrame) and value["value"].to_dict() == sums.to_dict()
        case "convert":
            assert isinstance(value, wb.FileRef)
            read = pd.read_parquet if _format(plan.number) == "parquet" else _read_lines
            return bool(read(value.path).equals(_table(plan.number % BASES)))
    return value == answer(plan.number)


def _read_lines(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True)


def _size(number: int) -> tuple[int, int]:
    return (16 + number % 48, 16 + number % 48)


def _format(number: int) -> str:
    return "parquet" if number % 2 else "jsonl"


@cache
def _table(base: int) -> pd.DataFrame:
    random_numbers = np.random.default_rng(base)
    keys = random_numbers.choice(["north", "east", "south", "west"], ROWS)
    return pd.DataFrame({"key": keys, "value": random_numbers.integers(0, 1000, ROWS)})


def _picture(base: int) -> Image.Image:
    pixels = np.random.default_rng(base).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def make_bases(directory: Path) -> None:
    """Make the files that inputs are copies of."""
    for base in range(BASES):
        _picture(base).save(directory / f"base-{base}.png")
        _table(base).to_csv(directory / f"base-{base}.csv", index=False)


def make_input(plan: Plan, directory: Path) -> None:
    """Give a task that reads a file one of its own, whose name is the task's number: links cost next to nothing."""
    for suffix, kinds in ((".png", ("thumbnail",)), (".csv", ("groupby", "convert"))):
        if plan.kind in kinds:
            target = directory / f"{plan.number}{suffix}"
            if not target.exists():
                target.hardlink_to(directory / f"base-{plan.number % BASES}{suffix}")
