"""Files in the making: beside their target, locked while they are written, complete when they take its name.

A process that is killed can't remove what it was writing. The kernel lets go of its lock, and by that another attempt
knows that nobody writes it any more (as with `worker.scratch`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.core.errors import InvalidArguments
from workbench.values.writer import Settler

LONGEST = 24 * 3600.0
"""Seconds after which an abandoned file of another task is removed, too: its own retries are over by then."""

UNSETTLED = 4 << 20
"""Bytes from which on the disk is asked to begin with a file that is still being written."""

_NAME = re.compile(r"\.(.*)-[0-9a-f]{12}\.part")
_MARK = "user.workbench.task"


@contextmanager
def beside(target: Path, task: str | None) -> Iterator[Path]:
    """Yield a new, empty, locked file beside a target; it is removed afterwards, unless it was renamed.

    Parameters
    ----------
    target
        What the file is to become.
    task
        Whose attempt this is: what earlier ones of it have left is removed.
    """
    _tidy(target.parent, task)
    part = target.with_name(f".{task or 'workbench'}-{os.urandom(6).hex()}.part")
    lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def settling(part: Path) -> Iterator[Callable[[], None]]:
    """Lend a function to call now and then while a file grows: the disk begins with it, in another thread.

    So little is left for `publish` to wait for. What the disk complains of is raised by a later call, or at the end of
    the block: the system tells it once.
    """
    with part.open("rb") as file:
        settler = Settler(file.fileno(), UNSETTLED)
        with settler.helped():
            yield lambda: settler.reached(os.fstat(file.fileno()).st_size)


def check_absent(target: Path, task: str | None, told: Path) -> None:
    """Raise `InvalidArguments` if a target is there, unless it is what an earlier attempt of the task has written."""
    if os.path.lexists(target) and not _written_by(target, task):
        raise InvalidArguments(f"output: {told} is there already: pass overwrite='replace', or name another file")


def publish(part: Path, target: Path, task: str | None, *, replace: bool, told: Path) -> None:
    """Give a complete file its name: in one step, and on the disk before it has it. Errors call the target `told`."""
    if not replace and task is not None:
        with contextlib.suppress(OSError, AttributeError):  # a file system, or a system, without such marks
            os.setxattr(part, _MARK, task.encode())
    with part.open("rb") as file:
        os.fsync(file.fileno())  # so that the name never outlives the bytes in a crash
    if replace or _written_by(target, task):
        part.replace(target)
        return
    try:
        os.link(part, target)  # which, unlike a rename, fails where the name is taken
    except FileExistsError:
        check_absent(target, None, told)
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        check_absent(target, None, told)  # no hard links here: as good as it gets
        part.replace(target)


def _written_by(target: Path, task: str | None) -> bool:
    if task is None:
        return False
    with contextlib.suppress(OSError, AttributeError):
        return os.getxattr(target, _MARK) == task.encode()
    return False


def _tidy(directory: Path, task: str | None) -> None:
    """Remove what killed attempts have left: of this task at once, of others after `LONGEST`."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if (found := _NAME.fullmatch(entry.name)) and (found[1] == task or _age(entry) > LONGEST):
                _remove_unlocked(Path(entry.path))


def _age(entry: os.DirEntry[str]) -> float:
    with contextlib.suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime
    return 0.0


def _remove_unlocked(path: Path) -> None:
    """Remove a file unless somebody writes it; one that can't be locked here at all stays."""
    with contextlib.suppress(OSError):
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(lock)
