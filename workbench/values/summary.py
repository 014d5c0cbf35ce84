"""A value in a few words, for a table of tasks: `DataFrame, 16 × 3`."""

from __future__ import annotations

import reprlib
import sys
from pathlib import Path

from workbench.values.refs import FileRef, size_text

_WIDTH = 60
_LONGEST = 280  # of a file's name, which may have come in a message, with its size
_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 6
_short.maxstring = _short.maxother = _WIDTH


def describe(value: object) -> str:
    """Return a few words about a value.

    Examples
    --------
    >>> describe(b"12345")
    'bytes, 5 B'
    >>> describe([1, 2, 3])
    '[1, 2, 3]'
    """
    if isinstance(value, FileRef):
        return _cut(str(value), _LONGEST)
    if isinstance(value, bytes):
        return f"bytes, {size_text(len(value))}"
    if isinstance(value, Path):
        return _cut(value.name, _LONGEST)
    if (text := _described(value)) is not None:
        return text
    try:
        text = _short.repr(value)
    except Exception:  # a stranger's __repr__ may do anything, and this is only for show
        text = type(value).__name__
    return _cut(" ".join(text.split()), _WIDTH)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _described(value: object) -> str | None:
    pandas, pyarrow, numpy = (sys.modules.get(name) for name in ("pandas", "pyarrow", "numpy"))
    pil = sys.modules.get("PIL.Image")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return f"DataFrame, {value.shape[0]} × {value.shape[1]}"
    if pandas is not None and isinstance(value, pandas.Series):
        return f"Series, {len(value)}"
    if pyarrow is not None and isinstance(value, pyarrow.Table):
        return f"Table, {value.num_rows} × {value.num_columns}"
    if numpy is not None and isinstance(value, numpy.ndarray):
        return f"array, {' × '.join(map(str, value.shape)) or 'scalar'} {value.dtype}"
    if pil is not None and isinstance(value, pil.Image):
        return f"Image, {value.width} × {value.height} {value.mode}"
    return None
