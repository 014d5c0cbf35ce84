"""`Writer`: counts and digests what is written through it, while it is written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

_PIECE = 256 << 10  # bytes from which on a second thread is worth its while
_UNSETTLED = 32 << 20
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only the one


class Writer(io.RawIOBase):
    """A file on its way into the store: counts and digests what is written through it.

    `key` is set once the file is in its place. What is written in large pieces is digested in another thread meanwhile
    (`hashlib` lets go of the interpreter), which is about as long as writing it takes.

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
        self._digest = hashlib.sha256()
        self._settle = settle
        self._unsettled = 0
        self._helper: ThreadPoolExecutor | None = None
        self._alone = False

    def writable(self) -> bool:
        """Return True: it is there to be written."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes, or anything that lends its memory, which is free again afterwards."""
        count = memoryview(data).nbytes
        digesting = self._digesting(data) if count >= _PIECE else None
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
        """Let the other thread go when the block ends."""
        try:
            yield
        finally:
            if self._helper is not None:
                self._helper.shutdown()

    def _digesting(self, data: Any) -> Future[None] | None:
        """Begin to digest a piece in the other thread; None where there can't be one."""
        if self._alone:
            return None
        try:
            self._helper = self._helper or ThreadPoolExecutor(1, "workbench digests")
            return self._helper.submit(self._digest.update, data)
        except RuntimeError:  # its stack is beyond the memory limit, or the interpreter ends
            self._helper, self._alone = None, True
            return None

    def _settle_some(self, count: int) -> None:
        self._unsettled += count
        if self._settle and self._unsettled >= _UNSETTLED:
            _fdatasync(self._file.fileno())
            self._unsettled = 0
