"""How the processes of slots allocate memory, and how much of it they may."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from pathlib import Path

_MIB = 1 << 20

ALLOCATORS = {
    # A slot's memory limit counts what is mapped, and Arrow's own allocator maps a gigabyte before it hands out a byte:
    # a limit of 1 GB would leave nothing. Arrow reads this as it is imported.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # DuckDB's own keeps what it has mapped for later, and maps more than it needs the longer it works. It reads this as
    # it is first used, in a slot.
    "DUCKDB_JE_MALLOC_CONF": "retain:false",
}
"""Environment variables that say where libraries get memory from: of glibc."""

TUNABLES = ":".join(
    (
        # Columns of some megabytes come and go. By default each is mapped for itself, and its pages are filled with
        # zeros one by one, until glibc has learnt better by what was freed: a slot begins with what it would learn.
        f"glibc.malloc.mmap_threshold={32 * _MIB}",
        f"glibc.malloc.trim_threshold={64 * _MIB}",
        f"glibc.malloc.top_pad={16 * _MIB}",
        # Pages of 2 MiB where the system lends them on request, as numpy asks for and Arrow's own allocator does.
        "glibc.malloc.hugetlb=1",
    )
)
"""What glibc is told of it in `GLIBC_TUNABLES`, which it reads as a process starts; others don't look at it."""

MUCH = 256 * _MIB
"""Bytes an attempt has used at its peak for it to be worth while to look for what can be given back."""

_ARENA_MAX = -8  # of mallopt


def tune_children() -> None:
    """Let processes that this one starts allocate as `TUNABLES` says, unless the environment says otherwise."""
    os.environ.setdefault("GLIBC_TUNABLES", TUNABLES)


def limit(size: int) -> None:
    """Let this process map so many bytes more than it has; beyond, the kernel refuses, which a task sees as an error.

    What slips through (the kernel counts what is mapped, not what is used) the worker sees as resident memory.
    """
    most = _mapped() + size
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def share_arena() -> None:
    """Let all threads allocate in one place. What is freed in a thread's own stays mapped, so that a limit counts it.

    That comes to 64 MB for each of the threads that Arrow and DuckDB start (glibc's mallopt(3), M_ARENA_MAX).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc; musl has no arenas
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Give what is free to the system: glibc keeps it for what is allocated next, also where that may take long."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc, too
    if trim is not None:
        trim(0)


def _mapped() -> int:
    """Bytes this process has mapped privately, as RLIMIT_DATA counts them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
