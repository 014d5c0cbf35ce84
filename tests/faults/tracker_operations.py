"""What the scenarios of trackers run: short tasks for `map`, and one that ends when it is told to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import workbench as wb


@wb.operation("text.score")
def score(number: int, directory: str) -> int:
    """Leave a mark for each execution, as `text.mark` does, with what varies as the first argument."""
    with Path(directory, f"{number}").open("a") as marks:
        marks.write(f"{os.getpid()}\n")
    return number


@wb.operation("text.gate")
def gate(directory: str, number: int, opened: str) -> int:
    """Leave a mark, and end once a file is there."""
    score(number, directory)
    while not Path(opened).exists():
        time.sleep(0.05)
    return number
