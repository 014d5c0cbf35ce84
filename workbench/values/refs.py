"""`FileRef`: a file by reference, in the store or below a shared root. The message carries it, never the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NewType, Protocol

from workbench.core.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.values.store import Store

OutputPath = NewType("OutputPath", str)
"""The annotation of an operation's parameter that names a file to write: absolute, and below a root of the worker's."""

DirectoryPath = NewType("DirectoryPath", str)
"""The annotation of a parameter that names a directory to read from or write in: absolute, below a worker's root."""


class Reach(Protocol):
    """Whoever can get at the files that references name: `values.files.Files`."""

    def local_path(self, ref: FileRef) -> Path:
        """Return a readable local path of the file."""

    def open(self, ref: FileRef) -> BinaryIO:
        """Open the file for reading."""

    def need_store(self) -> Store:
        """Return the store."""


_CHUNK = 1 << 20


class FileRef:
    """A file by reference.

    A reference that came back in a result, or that an operation was called with, knows how to reach its file: it opens
    it, copies it, and can be given to whatever takes a path (`pandas.read_csv(ref)`). What reaches it is no part of the
    reference: it doesn't travel, and two references are equal where they name the same file.

    Parameters
    ----------
    uri
        `store:blake3/ab/cd…` for a file in the store, an absolute path for one below a shared root.
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

    def download(self, path: str | os.PathLike[str] = ".", *, tell: Callable[[int], object] | None = None) -> Path:
        """Copy the file; it appears under its name once it is complete.

        Parameters
        ----------
        path
            Where to: a directory keeps the file's name. A file of this name is replaced.
        tell
            Called with the bytes of each chunk.

        Returns
        -------
        pathlib.Path
            The copy, which is an ordinary writable file. Raises as `path` does.
        """
        reach = self._reached()
        target = Path(path)
        if target.is_dir():
            target /= Path(self.name).name or "file"
        part = target.with_name(f".{os.urandom(6).hex()}.part")
        try:
            with part.open("wb") as copy:
                if self.stored:
                    reach.need_store().copy(self.uri.removeprefix("store:"), copy, tell=tell or _ignore)
                else:
                    with reach.open(self) as source:
                        while chunk := source.read(_CHUNK):
                            copy.write(chunk)
                            (tell or _ignore)(len(chunk))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def save(self, path: str | os.PathLike[str] = ".") -> Path:
        """Copy the file, as `download` does."""
        return self.download(path)

    def preview(self, rows: int = 5) -> Any:
        """Return the file's beginning, to look at; a notebook shows it below the reference by itself.

        Parameters
        ----------
        rows
            Rows of a table, or lines of a text.

        Returns
        -------
        pandas.DataFrame, PIL.Image.Image, str or bytes
            The first rows of a table (CSV, TSV, JSON Lines, Parquet, Arrow), a picture of at most 256 × 256 pixels, the
            first lines of a text, or the first bytes of anything else. Raises as `path` does.
        """
        from workbench.values import preview  # what reads tables and pictures is loaded when one is looked at

        return preview.of(self.path, self.name, rows)

    @property
    def at_hand(self) -> bool:
        """Whether the file can be opened here without being fetched first."""
        if self._reach is None:
            return False
        try:
            if self.stored:
                return self._reach.need_store().at_hand(self.uri.removeprefix("store:"))
            return self._reach.local_path(self).is_file()
        except (WorkbenchError, OSError):
            return False

    def _reached(self) -> Reach:
        if self._reach is None:
            raise WorkbenchError(
                f"{self!r} was made by hand, so nothing here knows how to reach the file: "
                "open references that came back as a result, or that an operation was called with"
            )
        return self._reach


FileRefs = NewType("FileRefs", list[FileRef])
"""The annotation of a parameter that takes files in an order: a list of them, a path, or a glob, sorted by name."""


def _ignore(count: int) -> None:
    """Be the `tell` of whoever doesn't want to know."""


def size_text(size: float) -> str:
    """Write a number of bytes as a person would: `5.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
