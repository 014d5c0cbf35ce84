"""`Scratch`: where the attempts of one worker make files; gone when the worker is, however it went.

A worker that is killed can't remove what its attempts had made. The kernel lets go of the lock that it held there, and
by that the next worker to start beside it, under whichever name and on whichever host, knows what nobody uses.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench.core.ids import new_name
from workbench.core.settings import Settings

logger = logging.getLogger(__name__)

_LOCK = "lock"


class Scratch:
    """A worker's own directory, from `claim` to `remove`.

    Parameters
    ----------
    settings
        Where the store is: on its own file system, where it is local, so that a file that is made can be moved there.
    worker
        The worker's name; another one of that name has another directory.
    """

    def __init__(self, settings: Settings, worker: str) -> None:
        self._worker = worker
        if settings.store.startswith("/"):
            self._parent, self._prefix = Path(settings.store) / "scratch", ""
        else:
            self._parent, self._prefix = Path(tempfile.gettempdir()), f"workbench-{os.getuid()}-"
        self._lock: int | None = None
        self.path = self._new()

    def claim(self) -> None:
        """Make the directory and lock it. Where that fails attempts make it, or say in their failure what is wrong."""
        try:
            for directory in (self._parent.parent, self._parent):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                self.path.mkdir(mode=0o700)
                self._lock = _lock(self.path, make=True)
                if self._lock is not None:
                    return
                self.path = self._new()  # another worker, as it started, took it for one that nobody uses
        except OSError as error:
            logger.warning("%s can't be made, or locked: %s", self.path, error)

    def tidy(self) -> None:
        """Remove what workers have left that were killed. Takes as long as that takes."""
        for path in self._others():
            with contextlib.suppress(OSError):  # another user's, or gone meanwhile
                lock = _lock(path)
                if lock is not None:
                    logger.info("removing %s: the worker that made it is gone", path)
                    _remove(path, lock)

    def remove(self) -> None:
        """Remove the directory, with all that is in it. May be called twice."""
        lock, self._lock = self._lock, None
        _remove(self.path, lock)

    def _new(self) -> Path:
        return self._parent / f"{self._prefix}{new_name(self._worker)}"

    def _others(self) -> Iterator[Path]:
        with contextlib.suppress(OSError), os.scandir(self._parent) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith(self._prefix) and path != self.path and entry.is_dir(follow_symlinks=False):
                    yield path


def _lock(directory: Path, *, make: bool = False) -> int | None:
    """Return the locked lock of a directory; None where somebody else has it, or it is gone or not there yet."""
    path, create = directory / _LOCK, os.O_CREAT if make else 0
    try:
        return _locked(path, os.O_RDONLY | create)  # a disk can be made read-only where nothing is open for writing
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return _locked(path, os.O_RDWR | create)  # NFS asks for it


def _locked(path: Path, flags: int) -> int | None:
    try:
        lock = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():  # else whoever held it has removed it
            return lock
    except BlockingIOError:
        pass
    except OSError:  # a file system without locks, or without such
        os.close(lock)
        raise
    os.close(lock)
    return None


def _remove(directory: Path, lock: int | None) -> None:
    """Remove a directory; its lock last, and only with all else, so that what is half-removed can still be found."""
    try:
        with contextlib.suppress(FileNotFoundError):
            for entry in list(directory.iterdir()):
                if entry.name != _LOCK:
                    _discard(entry)
            if [entry.name for entry in directory.iterdir()] in ([], [_LOCK]):
                shutil.rmtree(directory)
            else:
                logger.warning("%s can't be removed yet: a worker that starts beside it tries again", directory)
    except OSError as error:
        logger.warning("%s can't be removed yet: %s", directory, error)
    finally:
        if lock is not None:
            os.close(lock)


def _discard(path: Path) -> None:
    """Remove a file or a directory, as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()
