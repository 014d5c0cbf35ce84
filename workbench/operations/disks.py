"""Full and read-only disks, told by their place: what the libraries that write say of them names none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.core.errors import OutputFailed, StoreError, WorkbenchError
from workbench.values.refs import size_text

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_LITTLE = 64 * 1024  # bytes: with so few left, what a library can't write and gives no reason for is for want of them


@contextmanager
def told(directory: Path, output: Path | None = None) -> Iterator[None]:
    """Tell what goes wrong in the block as the disk's, if that is what it comes of.

    Parameters
    ----------
    directory
        Where the block writes.
    output
        What it writes there; None where the directory is the attempt's own.

    Raises
    ------
    StoreError
        If the disk of the attempt's own directory is full or read-only: no fault of the operation's, and may pass.
    OutputFailed
        If that of the output is.
    """
    try:
        yield
    except (StoreError, OutputFailed):
        raise
    except Exception as error:
        reason = _reason(error, directory)
        if reason is None:
            raise
        if output is None:
            raise StoreError(f"can't write in {directory}, which lies where the store does: {reason}") from error
        raise OutputFailed(
            f"output: {output} can't be written, and nothing of it is left: {reason}. Make room in {directory}, or "
            "name a place on another disk"
        ) from error


def _reason(error: BaseException | None, directory: Path) -> str | None:
    """Return what is wrong with the disk, if that is what an error, or one behind it, comes of."""
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, WorkbenchError):
            free = _free(directory)
            if error.errno in _NO_ROOM or (error.errno is None and free < _LITTLE):
                return f"{os.strerror(error.errno or errno.ENOSPC)} ({size_text(free)} free)"
        error = error.__cause__ or error.__context__
    return None


def _free(directory: Path) -> int:
    """Return the bytes that are free on a directory's disk, though it may yet have to be made."""
    while True:
        try:
            return shutil.disk_usage(directory).free
        except FileNotFoundError:
            directory = directory.parent
