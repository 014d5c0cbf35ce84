"""How the processes of slots allocate memory, and how much of it they may."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from pathlib import Path

from workbench.values import bounds, frugality

_MIB = 1 << 20

ALLOCATORS = {
    # A slot's memory limit counts what is mapped, and Arrow's own allocator maps a gigabyte before it hands out a byte:
    # a limit of 1 GB would leave nothing. So it's glibc's. Arrow reads this as it is imported.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # DuckDB's own keeps what it has mapped for later, and maps more than it needs the longer it works. It reads this as
    # it is first used, in a slot.
    "DUCKDB_JE_MALLOC_CONF": "retain:false",
}
"""Environment variables by which libraries allocate so that a limit counts what they use."""

MUCH = 256 * _MIB
"""Bytes an attempt has used at its peak for it to be worth while to look for what can be given back."""

_ARENA_MAX = -8  # of mallopt


def tunables() -> str:
    """Return what glibc is told in `GLIBC_TUNABLES`, which it reads as a process starts; others don't look at it."""
    told = {
        # Columns of some megabytes come and go. By default each is mapped for itself, and its pages are filled with
        # zeros one by one, until glibc has learnt better by what was freed: a slot begins with what it would learn.
        "mmap_threshold": frugality.USUAL,
        "trim_threshold": 2 * frugality.USUAL,
        "top_pad": 16 * _MIB,
    }
    with contextlib.suppress(OSError, ValueError):  # no large pages here
        # As numpy asks for, and Arrow's own allocator does. Not where they are larger by far (512 MiB on some ARM).
        if int(Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").read_text()) <= 2 * _MIB:
            told["hugetlb"] = 1
    return ":".join(f"glibc.malloc.{name}={value}" for name, value in told.items())


def tune_children() -> None:
    """Let processes that this one starts allocate as `tunables` says, unless the environment says otherwise."""
    os.environ.setdefault("GLIBC_TUNABLES", tunables())


def limit(size: int) -> None:
    """Let this process map so many bytes more than it has; beyond, the kernel refuses, which a task sees as an error.

    What slips through (the kernel counts what is mapped, not what is used) the worker sees as resident memory.
    """
    most = bounds.mapped() + size
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def share_arena() -> None:
    """Let all threads allocate in one place (glibc's mallopt(3), M_ARENA_MAX): what one has freed serves the others.

    What is freed in a thread's own place stays mapped, and a limit counts it: up to 64 MB for each of the threads that
    Arrow and DuckDB start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc; musl has no arenas
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Give what is free to the system; glibc would keep it for what is allocated next, however long that takes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc, too
    if trim is not None:
        trim(0)
