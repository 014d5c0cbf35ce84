"""What reading a table may cost, held against what there is before it is spent.

A slot's memory limit ends whatever slips through: these bounds are there so that a small file that unfolds into a large
table is refused at once, by its name, and with what to do instead.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import resource
from pathlib import Path

from workbench.core.errors import InputError, InputTooLarge
from workbench.values.refs import size_text

COLUMNS = 100_000
"""Columns a table of text may have: each costs its reader some kilobytes, whatever is in it."""
DEPTH = 500
"""How deep JSON may be nested: some thousands of levels are more than Arrow's reader has stack for."""


def room() -> int:
    """Return the bytes of memory this process may still take: up to its own limit, and of what the host has left."""
    bytes_left = _kilobytes("/proc/meminfo", "MemAvailable") or 1 << 62
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit != resource.RLIM_INFINITY:
        bytes_left = min(bytes_left, limit - mapped())
    return max(0, bytes_left)


def mapped() -> int:
    """Return the bytes this process has mapped privately, as its limit counts them; 0 where that isn't known."""
    return _kilobytes("/proc/self/status", "VmData")


def _limit() -> int:
    """Return the bytes of memory this process may take at all."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return limit if limit != resource.RLIM_INFINITY else _kilobytes("/proc/meminfo", "MemTotal")


def _kilobytes(path: str, name: str) -> int:
    """Return a size that the kernel tells, in bytes; 0 where it doesn't."""
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def too_large(name: str, what: str = "it") -> InputTooLarge:
    """Make the error for what doesn't fit."""
    return InputTooLarge(
        f"{name}: {what} doesn't fit into the memory this process may use ({size_text(_limit())}). Convert, filter or "
        "aggregate it without loading it whole (convert.table, data.sql), give the task a part of it, or the worker a "
        "higher --memory-limit"
    )


def check_width(name: str, columns: int, each: int, what: str) -> None:
    """Refuse a table of more columns than there is memory for, whatever is in them.

    Parameters
    ----------
    name
        For the message.
    columns
        As many as it has.
    each
        Bytes that one takes.
    what
        What takes them.

    Raises
    ------
    InputTooLarge
        If it won't fit.
    """
    if columns * each > room():
        raise too_large(name, f"a table of {columns:,} columns, for each of which {what} takes {size_text(each)},")


def check_columns(columns: int, name: str) -> None:
    """Refuse more columns than `COLUMNS`."""
    if columns > COLUMNS:
        raise InputTooLarge(
            f"{name} has {columns:,} columns, and a table of text may have {COLUMNS:,}. Write it with a row for each "
            "value instead of a column, or as Parquet"
        )


def check_depth(lines: bytes, name: str) -> None:
    """Refuse lines of JSON that are nested so deeply that a reader in C++, Arrow's, would overrun the stack.

    Parameters
    ----------
    lines
        Whole ones. They needn't be JSON: its reader says where they are wrong.
    name
        For the message.

    Raises
    ------
    InputError
        If one goes deeper than `DEPTH`.
    """
    if _brackets_within(lines) < DEPTH:
        return
    for line in lines.split(b"\n"):  # at nothing else: a carriage return may stand between two brackets
        if len(line) > DEPTH and line.count(b"[") + line.count(b"{") > DEPTH and _depth(line) > DEPTH:
            raise InputError(
                f"{name} is nested too deeply to be a table: no row of one goes so deep. Get the file again"
            )


def _brackets_within(lines: bytes) -> int:
    """Return how many opening brackets there are besides those that a line begins with: none, in flat records."""
    import numpy as np

    signs = np.frombuffer(lines, np.uint8)
    opening = (signs | 0x20) == ord("{")  # [ and {
    first = np.count_nonzero(opening[1:] & (signs[:-1] == ord("\n"))) + np.count_nonzero(opening[:1])
    return int(np.count_nonzero(opening) - first)


def _depth(line: bytes) -> int:
    brackets = re.findall(rb"[\[\]{}]", _STRING.sub(b"", line))
    return max(itertools.accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
