"""What the scenarios of the store run: operations that give much, take much, or echo."""

from __future__ import annotations

import os
from pathlib import Path

import workbench as wb
from tests.faults import bulk


@wb.operation("text.give")
def give(directory: str, number: int, form: str) -> object:
    """Leave a mark for each execution, as `text.mark` does, and return much."""
    _mark(directory, number)
    return bulk.made(number, form)


@wb.operation("text.take")
def take(directory: str, number: int, data: bytes) -> int:
    """Leave a mark, and take what may be much."""
    _mark(directory, number)
    return len(data)


def _mark(directory: str, number: int) -> None:
    with Path(directory, f"{number}").open("a") as marks:
        marks.write(f"{os.getpid()}\n")
