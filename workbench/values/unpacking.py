"""Compressed text, unpacked up to a point that honest files don't reach: a few megabytes may hold days of work."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from workbench.core.errors import InputTooLarge
from workbench.values.refs import size_text

FREE = 1 << 30
"""Bytes that a file may unpack to, however small it is: seconds of work."""
TIMES = 250
"""Of its own size that a file may unpack to beyond that: far more than text does. Gzip's most is 1032, zstd's more."""


class _Unpacked(io.RawIOBase):
    """What is in a compressed file, with an error where that has no end."""

    def __init__(self, file: BinaryIO, most: int, name: str) -> None:
        self._file = file
        self._most = most
        self._name = name
        self._read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._read = self._file.seek(offset, whence)
        return self._read

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        if self._read > self._most:
            raise bomb(self._name, self._most)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def unpacked(file: Any, path: Path, name: str) -> io.BufferedReader:
    """Read what is in a compressed file, within bounds.

    Parameters
    ----------
    file
        Yields what is unpacked; closed with what is returned.
    path
        The compressed file.
    name
        Its name, for the message.

    Returns
    -------
    io.BufferedReader
        Reading it raises `InputTooLarge` beyond `FREE` bytes that are more than `TIMES` those of the file.
    """
    return io.BufferedReader(_Unpacked(file, most_of(path), name), 1 << 20)


def most_of(path: Path) -> int:
    """Return how many bytes a compressed file may unpack to."""
    return max(FREE, TIMES * path.stat().st_size)


def bomb(name: str, most: int) -> InputTooLarge:
    """Return the error for a file that unpacks to more than `most` bytes."""
    return InputTooLarge(
        f"{name} unpacks to more than {size_text(most)}, {TIMES} times its size or more. Such a file is refused as a "
        "decompression bomb: if it is none, unpack it, or write it as Parquet"
    )
