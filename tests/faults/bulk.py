"""Values that are too large for a message, in every form in which an operation may return them.

No operations are in here: a test that registered some would have its producers check submissions against them.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd

import workbench as wb
from workbench.operations.context import Output, write_file

SIZE = 128 * 1024  # bytes of a value, more or less
FORMS = ("bytes", "list", "array", "frame", "file")


def content(number: int) -> bytes:
    """Return bytes of a number's own, so that no two values are one object in the store."""
    return random.Random(number).randbytes(SIZE)


def made(number: int, form: str) -> object:
    """Return them in one of the `FORMS`."""
    data = content(number)

    def write(path: Path) -> None:
        path.write_bytes(data)

    match form:
        case "list":
            return [data]
        case "array":
            return np.frombuffer(data, dtype=np.int64)
        case "frame":
            return pd.DataFrame({"x": np.frombuffer(data, dtype=np.int64)})
        case "file":
            return write_file("bulk.bin", Output(), write)
    return data


def as_bytes(result: object) -> bytes:
    """Return the bytes that a result was made from."""
    match result:
        case bytes():
            return result
        case [bytes() as data]:
            return data
        case np.ndarray():
            return result.tobytes()
        case pd.DataFrame():
            return result["x"].to_numpy().tobytes()
        case wb.FileRef():
            return result.path.read_bytes()
    raise TypeError(type(result).__name__)
