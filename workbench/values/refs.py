"""`FileRef`: a file by reference, in the store or below a shared root. The message carries it, never the file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO, NewType, Protocol

from workbench.core.errors import WorkbenchError

OutputPath = NewType("OutputPath", str)
"""The annotation of an operation's parameter that names a file to write: absolute, and below a root of the worker's."""


class Reach(Protocol):
    """Whoever can get at the files that references name: `values.files.Files`."""

    def local_path(self, ref: FileRef) -> Path:
        """Return a readable local path of the file."""

    def open(self, ref: FileRef) -> BinaryIO:
        """Open the file for reading."""


class FileRef:
    """A file by reference.

    A reference that came back in a result, or that an operation was called with, knows how to reach its file: it opens
    it, copies it, and can be given to whatever takes a path (`pandas.read_csv(ref)`). What reaches it is no part of the
    reference: it doesn't travel, and two references are equal where they name the same file.

    Parameters
    ----------
    uri
        `store:sha256/ab/cd…` for a file in the store, an absolute path for one below a shared root.
    name
        The file's name, as a person knows it.
    size
        Bytes, where known.
    """

    __slots__ = ("_reach", "name", "size", "uri")

    def __init__(self, uri: str, name: str, size: int | None = None, *, reach: Reach | None = None) -> None:
        self.uri = uri
        self.name = name
        self.size = size
        self._reach = reach

    def __repr__(self) -> str:
        where = self.uri if len(self.uri) <= 60 else f"{self.uri[:22]}…" if self.stored else f"…{self.uri[-59:]}"
        return f"<FileRef {self}, {where}>"

    def __str__(self) -> str:
        return self.name if self.size is None else f"{self.name}, {size_text(self.size)}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileRef):
            return NotImplemented
        return (self.uri, self.name, self.size) == (other.uri, other.name, other.size)

    def __hash__(self) -> int:
        return hash((self.uri, self.name, self.size))

    def __reduce__(self) -> tuple[Any, ...]:
        return FileRef, (self.uri, self.name, self.size)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def stored(self) -> bool:
        """Whether the file lies in the store."""
        return self.uri.startswith("store:")

    @property
    def path(self) -> Path:
        """A local path of the file, for reading only; a file in a remote store is fetched first.

        Raises
        ------
        InputNotFound
            If the file isn't there.
        PathRefused
            If it lies outside the shared roots.
        """
        return self._reached().local_path(self)

    def open(self) -> BinaryIO:
        """Open the file for reading, as bytes. Raises as `path` does."""
        return self._reached().open(self)

    def read_bytes(self) -> bytes:
        """Return what is in the file. Raises as `path` does."""
        with self.open() as file:
            return file.read()

    def save(self, path: str | os.PathLike[str] = ".") -> Path:
        """Copy the file.

        Parameters
        ----------
        path
            Where to: a directory keeps the file's name.

        Returns
        -------
        pathlib.Path
            The copy, which is an ordinary writable file. Raises as `path` does.
        """
        target = Path(path)
        if target.is_dir():
            target /= Path(self.name).name or "file"
        with self.open() as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        return target

    def _reached(self) -> Reach:
        if self._reach is None:
            raise WorkbenchError(
                f"{self!r} was made by hand, so nothing here knows how to reach the file: "
                "open references that came back as a result, or that an operation was called with"
            )
        return self._reach


def size_text(size: float) -> str:
    """Write a number of bytes as a person would: `5.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
