"""Files and directories reached without following a link, and held: whatever is done to their names meanwhile.

A path that was resolved, and held against the roots, has no links in it. One that has when it is opened was switched
since. What is held can be reached by a path of this process's own, which no one else can switch.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

SWITCHED = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
"""What the operating system says of a path that a link, or something else, has been put into."""

_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe in its place must not be waited for


def file(path: Path) -> int:
    """Open what an absolute path names for reading, and return its descriptor.

    Raises
    ------
    OSError
        If it isn't there, or any part of the path is a link.
    """
    with _walked(path.parent) as parent:
        return os.open(path.name, _READ, dir_fd=parent)


@contextlib.contextmanager
def directory(path: Path, *, make: bool = False) -> Iterator[Path]:
    """Lend a path of a directory that leads to it until the block ends, whatever is done to its name.

    Parameters
    ----------
    path
        An absolute path.
    make
        Whether it is made, with those it lies in, where it isn't there.

    Raises
    ------
    OSError
        If it isn't there, or any part of the path is a link.
    """
    with _walked(path, make=make) as descriptor:
        yield by_descriptor(descriptor) or path


def by_descriptor(descriptor: int) -> Path | None:
    """Return the path by which this process reaches what it has open; None elsewhere than on Linux."""
    path = Path(f"/proc/self/fd/{descriptor}")
    return path if path.exists() else None


@contextlib.contextmanager
def _walked(path: Path, *, make: bool = False) -> Iterator[int]:
    if not path.is_absolute():
        raise ValueError(f"{path} is not an absolute path")
    here = os.open("/", _PASS)
    try:
        for part in path.parts[1:]:
            try:
                there = os.open(part, _PASS, dir_fd=here)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):  # somebody else's, meanwhile
                    os.mkdir(part, dir_fd=here)
                there = os.open(part, _PASS, dir_fd=here)
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)
