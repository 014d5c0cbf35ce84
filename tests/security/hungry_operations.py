"""Operations that take more memory than they may, each by another library; and one that goes where it may not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import workbench as wb


@wb.operation("hungry.numpy")
def numpy() -> int:
    """Ask for four gigabytes of zeros."""
    import numpy as np

    return int(np.ones(4 << 30, "u1").sum())


@wb.operation("hungry.numpybits")
def numpybits() -> int:
    """Ask for a little again and again, and keep it."""
    import numpy as np

    kept = []
    while True:
        kept.append(np.ones(8 << 20, "u1"))


@wb.operation("hungry.pandas")
def pandas() -> int:
    """Multiply rows by rows."""
    import pandas as pd

    frame = pd.DataFrame({"key": [1] * 30_000, "x": range(30_000)})
    return len(frame.merge(frame, on="key"))


@wb.operation("hungry.pyarrow")
def pyarrow() -> int:
    """Repeat a text until it is too long."""
    import pyarrow as pa

    return len(pa.array(["x" * 1_000_000]).take(pa.array([0] * 2000)))


@wb.operation("hungry.modest")
def modest(megabytes: int) -> int:
    """Let Arrow have a little, and NumPy the rest."""
    import numpy as np
    import pyarrow as pa

    kept = pa.array(["a"]), np.ones(megabytes << 20, "u1")
    return len(kept)


@wb.operation("hungry.pillow")
def pillow() -> int:
    """Make a picture of 4 gigabytes."""
    from PIL import Image

    return Image.new("RGBA", (30_000, 34_000)).width


@wb.operation("hungry.python")
def python() -> int:
    """Make a list that grows."""
    kept: list[bytes] = []
    while True:
        kept.append(bytes(1 << 20))


@wb.operation("hungry.duckdb")
def duckdb() -> int:
    """Let DuckDB make a list that doesn't fit, with no translation of what it raises."""
    import duckdb

    return len(duckdb.sql("SELECT list(i) FROM range(1000000000) r(i)").fetchall())


@wb.operation("hungry.mapped")
def mapped(megabytes: int) -> None:
    """Use memory that the kernel's limit doesn't count: a shared mapping."""
    import mmap

    shared = mmap.mmap(-1, megabytes << 20)
    for start in range(0, megabytes << 20, 1 << 20):
        shared[start : start + (1 << 20)] = b"x" * (1 << 20)
    time.sleep(60)


@wb.operation("stray.writes")
def writes(path: str) -> int:
    """Write where its author wants to: its code is the worker's own."""
    Path(path).write_text("here")
    return os.getpid()
