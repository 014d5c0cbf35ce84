"""Where an attempt puts what doesn't fit in memory, and how much of the disk it may fill with that."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from workbench.core.errors import InputTooLarge, StoreError
from workbench.operations import context, disks
from workbench.values.refs import size_text

SHARE = 1 / 2
"""Of what is free on the disk: its neighbours need some too."""


class TooMuch(StoreError):
    """The share of the disk, or the disk itself, was full."""


def share(directory: Path) -> int:
    """Return the bytes that may be written in a directory."""
    return int(shutil.disk_usage(directory).free * SHARE)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Make a directory below the attempt's own, for as long as it is needed.

    Raises
    ------
    InputTooLarge
        If `TooMuch` is raised within, and the disk is mostly free without what was written here: tried again, it would
        come to the same.
    StoreError
        If others have most of it, who may be done when the task is tried again.
    """
    directory = context.scratch_file(f"duckdb-{os.urandom(6).hex()}")
    try:
        with disks.told(directory.parent):
            directory.mkdir(mode=0o700)
            yield directory
    except TooMuch as error:
        shutil.rmtree(directory, ignore_errors=True)
        usage = shutil.disk_usage(directory.parent)
        if usage.free <= usage.total / 2:
            raise StoreError(f"{error} ({size_text(usage.free)} free in {directory.parent})") from error
        raise InputTooLarge(
            f"{error}. A task may fill half of what is free in {directory.parent}, now {size_text(usage.free)}: filter "
            "or aggregate first, or give the worker a higher --memory-limit or a larger disk"
        ) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
