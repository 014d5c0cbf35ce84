"""`Writer`: counts and digests what is written through it, while it is written."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

from workbench.values import digest as digests

_PIECE = 256 << 10  # bytes from which on a second thread is worth its while
_UNSETTLED = 32 << 20  # bytes from which on a disk is asked to begin
fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only the one


class Helper:
    """Another thread, which starts with the first work it is given."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._fails = False

    def begin(self, work: Callable[..., object], *arguments: Any) -> Future[Any] | None:
        """Begin work; None where there can't be a thread: its stack is beyond the memory limit, or Python ends."""
        if self._fails:
            return None
        try:
            self._thread = self._thread or ThreadPoolExecutor(1, self._name)
            return self._thread.submit(work, *arguments)
        except RuntimeError:
            self._thread, self._fails = None, True
            return None

    def end(self) -> None:
        """Let it go, once it has done its work."""
        if self._thread is not None:
            self._thread.shutdown()


class Writer(io.RawIOBase):
    """A file on its way into the store: counts and digests what is written through it.

    `key` is set once the file is in its place. What is written in large pieces is digested in another thread meanwhile
    (which lets go of the interpreter), which is about as long as writing it takes.

    Parameters
    ----------
    file
        Where the bytes go.
    settle
        Whether they are brought to the disk along the way, so that little is left to wait for at the end.
    """

    def __init__(self, file: BinaryIO, *, settle: bool = False) -> None:
        self.key = ""
        self.size = 0
        self._file = file
        self._digest = digests.new()
        self._settle = settle
        self._unsettled = 0
        self._settling: Future[Any] | None = None
        self._digests, self._settles = Helper("workbench digests"), Helper("workbench settles")

    def writable(self) -> bool:
        """Return True: it is there to be written."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes, or anything that lends its memory, which is free again afterwards."""
        count = memoryview(data).nbytes
        digesting = self._digests.begin(self._digest.update, data) if count >= _PIECE else None
        try:
            if digesting is None:
                self._digest.update(data)
            self._file.write(data)
            self._settle_some(count)
        finally:
            if digesting is not None:
                digesting.result()
        self.size += count
        return count

    def hexdigest(self) -> str:
        """Return the digest of everything written so far."""
        return self._digest.hexdigest()

    @contextlib.contextmanager
    def helped(self) -> Iterator[None]:
        """Let the other threads go when the block ends, and raise what the disk has said."""
        try:
            yield
            if self._settling is not None:
                self._settling.result()
        finally:
            self._digests.end()
            self._settles.end()

    def _settle_some(self, count: int) -> None:
        """Have the disk at work while more is written; what it says is told with the next piece, or at the end."""
        self._unsettled += count
        if not self._settle or self._unsettled < _UNSETTLED or (self._settling and not self._settling.done()):
            return
        if self._settling is not None:
            self._settling.result()
        self._settling = self._settles.begin(fdatasync, self._file.fileno())
        if self._settling is None:
            fdatasync(self._file.fileno())
        self._unsettled = 0
