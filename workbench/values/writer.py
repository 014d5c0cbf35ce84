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
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only the one


class _Helper:
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


class Settler:
    """Brings a file to the disk while it is written, in another thread, so that little is left to wait for at its end.

    Parameters
    ----------
    file
        Its descriptor.
    after
        Bytes from which on the disk is asked to begin with them.
    """

    def __init__(self, file: int, after: int) -> None:
        self._file = file
        self._after = after
        self._settled = 0
        self._begun: Future[Any] | None = None
        self._helper = _Helper("workbench settles")

    def reached(self, size: int) -> None:
        """Note how long the file is now; raise what the disk has said of what it began with before."""
        if size - self._settled < self._after or (self._begun is not None and not self._begun.done()):
            return
        self._raise()
        self._begun = self._helper.begin(_fdatasync, self._file)
        if self._begun is None:
            _fdatasync(self._file)
        self._settled = size

    @contextlib.contextmanager
    def helped(self) -> Iterator[None]:
        """Let the other thread go when the block ends, and raise what the disk has said: the system tells it once."""
        try:
            yield
            self._raise()
        finally:
            self._helper.end()

    def _raise(self) -> None:
        if self._begun is not None:
            self._begun.result()


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
        self._digests = _Helper("workbench digests")
        self._settler = Settler(file.fileno(), _UNSETTLED) if settle else None

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
            self.size += count
            if self._settler is not None:
                self._settler.reached(self.size)
        finally:
            if digesting is not None:
                digesting.result()
        return count

    def hexdigest(self) -> str:
        """Return the digest of everything written so far."""
        return self._digest.hexdigest()

    @contextlib.contextmanager
    def helped(self) -> Iterator[None]:
        """Let the other threads go when the block ends, and raise what the disk has said."""
        try:
            with self._settler.helped() if self._settler is not None else contextlib.nullcontext():
                yield
        finally:
            self._digests.end()
