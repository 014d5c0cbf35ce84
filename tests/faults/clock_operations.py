"""What runs under a moved clock: libfaketime breaks `time.sleep` (EINVAL), so these wait in `select`."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import workbench as wb


@wb.operation("text.tick")
def tick(directory: str, number: int, seconds: float = 0.0) -> int:
    """Leave a mark for each execution, as `text.mark` does, with the time that it takes it to be."""
    with Path(directory, f"{number}").open("a") as marks:
        marks.write(f"{os.getpid()} {time.time()}\n")
    select.select([], [], [], seconds)
    return number
