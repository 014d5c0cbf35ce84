"""`Sink`: for writers that leave things open, or end the process, where their file can't be written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class Sink(io.RawIOBase):
    """A file that takes all that is written, and tells afterwards what was wrong.

    Parameters
    ----------
    file
        Where it goes; closed by whoever opened it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0
        self._error: OSError | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place where it writes."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere."""
        self._place = offset
        if not self._broken:
            try:  # what waits to be written is written first
                self._place = self._file.seek(offset, whence)
            except OSError as error:
                self._error = error
        return self._place

    def write(self, data: Any) -> int:
        """Write, unless that has failed before."""
        self._place += len(data)
        if not self._broken:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error

    @property
    def _broken(self) -> bool:
        return self._error is not None or self._file.closed


@contextmanager
def opened_sink(path: Path) -> Iterator[Sink]:
    """Open a file to be written through a sink; raise what went wrong at the end of the block."""
    with path.open("wb") as file:
        sink = Sink(file)
        yield sink
        sink.check()
