"""What the scenarios of the store run: operations that give, take, keep and need what is large."""

from __future__ import annotations

import os
import time
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


@wb.operation("text.hold")
def hold(directory: str, number: int, opened: str, path: Path) -> bytes:
    """Leave a mark; return a file's bytes once another file is there, however long that takes."""
    _mark(directory, number)
    while not Path(opened).exists():
        time.sleep(0.05)
    return path.read_bytes()


@wb.operation("text.again")
def again(directory: str, number: int, delay: float, data: bytes) -> int:
    """Leave a mark; ask for another attempt the first time, which needs the data as well."""
    _mark(directory, number)
    if len(Path(directory, f"{number}").read_text().splitlines()) == 1:
        raise wb.Retry(delay=delay)
    return len(data)


def _mark(directory: str, number: int) -> None:
    with Path(directory, f"{number}").open("a") as marks:
        marks.write(f"{os.getpid()}\n")
