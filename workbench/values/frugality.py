"""Memory given back as soon as it is free, where a limit counts all that is mapped, and not what is used of it."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator

_MMAP_THRESHOLD = -3  # of mallopt(3)
_BLOCK = 128 * 1024  # bytes from which on memory is given back to the system; DuckDB's buffers have twice as many
_frugal = False  # whether a block lasts

USUAL = 32 * 1024**2
"""Bytes that glibc raises that threshold to by itself, as blocks are freed; slots begin with it."""

WIDE = 64
"""Columns from which on a CSV is read so: for each of text Arrow reserves as much as the whole block of rows takes (a
megabyte), and gives most of it back, to glibc. Threads leave holes between each other's there: 5,000 columns took 13 GB
of what the limit counts, and 20 MB so."""


def for_width(columns: int) -> contextlib.AbstractContextManager[None]:
    """Be frugal while a CSV of so many columns is read, if they are many."""
    return frugal() if columns > WIDE else contextlib.nullcontext()


@contextlib.contextmanager
def frugal() -> Iterator[None]:
    """Let freed memory go back to the system while the block lasts, if this process is limited, as slots are.

    Arrow's own allocator and glibc's keep what they were given: with a Parquet file's or DuckDB's buffers that comes to
    half as much again as is used. Giving it back is slower, which shows in nothing that reads whole tables.
    """
    global _frugal
    import pyarrow as pa

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if _frugal or resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY or mallopt is None:
        yield
        return
    _frugal = True
    pool = pa.default_memory_pool()
    mallopt(_MMAP_THRESHOLD, _BLOCK)
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)
        mallopt(_MMAP_THRESHOLD, USUAL)
        _frugal = False
