"""Which files a process can reach: the store, and what lies below the shared roots.

The notebook turns paths into references, the worker turns references into paths. Every path is resolved before it is
held against a root, so that neither `..` nor a symbolic link leads out of one; what is opened here is reached without
following any, so that no link that was put there in between does either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from workbench.core.errors import InputNotFound, InputTooLarge, InvalidArguments, PathRefused, StoreError
from workbench.values import held
from workbench.values.refs import FileRef
from workbench.values.store import Store, check_key

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*"
_URL = re.compile(rf"(?:{_SCHEME}::)*{_SCHEME}:/|(?:{_SCHEME}::)+/")  # fsspec's chains, too: simplecache::s3://…
_STORE = "store:"
_LONGEST, _LONGEST_NAME = 4095, 255  # what Linux takes: beyond it, asking whether a file is there is an error


class Files:
    """The files one process can reach: the store and the shared roots.

    Parameters
    ----------
    store
        The store's absolute local directory or fsspec URL; empty where none is known.
    roots
        Absolute directories that notebook and workers share.
    """

    def __init__(self, store: str, roots: Sequence[str] = ()) -> None:
        self.store = Store(store) if store else None
        self.roots = tuple(Path(root) for root in roots)
        self._uploaded: dict[
            tuple[str, int, int, int], str
        ] = {}  # path, size, mtime, inode → key: a resubmit is a stat

    def __repr__(self) -> str:
        roots = ", ".join(map(str, self.roots)) or "no roots"
        return f"<Files: {self.store or 'no store'}; {roots}>"

    def need_store(self) -> Store:
        """Return the store.

        Raises
        ------
        StoreError
            If none is known here.
        """
        if self.store is None:
            raise StoreError(
                "this needs the store, and none is known here: set WORKBENCH_STORE (a directory or URL that notebook "
                "and workers share), or pass smaller values"
            )
        return self.store

    # --- in the notebook ----------------------------------------------------------------------------

    def reference(self, path: str | os.PathLike[str]) -> FileRef:
        """Refer to a file, as the notebook names it.

        Parameters
        ----------
        path
            Relative to the current directory, or absolute. Below a root the file is referred to where it is; any other
            one is copied into the store, once.

        Raises
        ------
        InvalidArguments
            If it is a directory.
        PathRefused
            If it is a URL.
        StoreError
            If the file can't be copied into the store.
        """
        if isinstance(path, FileRef):
            return path
        absolute = self.absolute(path)
        below = self._below_root(absolute)
        try:
            status = absolute.stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            # Not here, or not for this user: the worker may see it, and says so if it doesn't.
            return FileRef(str(below or absolute), absolute.name, reach=self)
        if absolute.is_dir():
            raise InvalidArguments(
                f"{absolute} is a directory, not a file: pass the files in it, e.g. a list from glob"
            )
        if below is not None:
            return FileRef(str(below), absolute.name, status.st_size, reach=self)
        if not absolute.is_file():
            raise InvalidArguments(f"{absolute} is not a regular file")
        known = (str(absolute), status.st_size, status.st_mtime_ns, status.st_ino)
        key = self._uploaded.get(known)
        if key is None or not self.need_store().renew(key):  # it may have been swept since
            key = self._uploaded[known] = self.need_store().put_file(absolute)
        return FileRef(_STORE + key, absolute.name, status.st_size, reach=self)

    def absolute(self, path: str | os.PathLike[str]) -> Path:
        """Return a path as the notebook means it, made absolute.

        Raises
        ------
        PathRefused
            If it is a URL.
        """
        text = os.fspath(path)
        if _URL.match(text) or text.startswith(_STORE):
            raise PathRefused(
                f"{text[:200]} is a URL, and workers fetch none: pass a path of a file here or below a shared root "
                f"({self._roots_text()}), or the file's bytes"
            )
        if not text or "\0" in text:
            raise InvalidArguments(f"{text!r} is not a path of a file")
        return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - Path.absolute keeps `..`

    # --- in the worker ------------------------------------------------------------------------------

    def local_path(self, ref: FileRef) -> Path:
        """Return a local path of a file, to be read only.

        Raises
        ------
        PathRefused
            If it lies outside the roots, wherever its symbolic links lead.
        InputNotFound
            If it isn't there, as seen from this host, or can't be read.
        StoreError
            If it should lie in the store and can't be read from there.
        """
        if ref.stored:
            return self.need_store().local_path(check_key(ref.uri.removeprefix(_STORE)))
        path = self._allowed(ref.uri)
        if not path.exists():
            raise InputNotFound(
                f"{ref.uri} isn't there, as seen from {socket.gethostname()}: the path must exist on the worker's "
                f"machine (shared roots: {self._roots_text()}). A file that exists beside the notebook is sent along "
                "by itself: check the path's spelling there"
            )
        if not path.is_file():
            raise self._irregular(ref)
        if not os.access(path, os.R_OK):
            raise InputNotFound(
                f"{ref.uri} can't be read by the worker on {socket.gethostname()}: give its user permission to"
            )
        return path

    def open(self, ref: FileRef) -> BinaryIO:
        """Open a file for reading. Raises as `local_path` does, also where a link has been put in its way since."""
        path = self.local_path(ref)
        try:
            descriptor = held.file(path)
        except FileNotFoundError:
            raise InputNotFound(f"{ref.uri} isn't there any more: put it back, and submit the task again") from None
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise InputTooLarge(
                    f"{ref.uri} is one file too many to be open at once: give the task fewer, or raise the worker's "
                    "limit of open files (ulimit -n)"
                ) from error
            if error.errno not in held.SWITCHED:
                raise
            raise PathRefused(f"{ref.uri} has changed while it was opened: {error}. Submit the task again") from error
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise self._irregular(ref)
        return file

    @contextlib.contextmanager
    def pinned(self, ref: FileRef) -> Iterator[Path]:
        """Lend a path of a file that leads to it whatever is done to its name meanwhile. Raises as `open` does.

        It tells nothing of the name, and is good in this process only.
        """
        with self.holding() as hold:
            yield hold(ref)

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[FileRef], Path]]:
        """Lend a function that returns such paths (see `pinned`), of files that are held until the block ends."""
        paths: dict[str, Path] = {}
        with contextlib.ExitStack() as files:

            def hold(ref: FileRef) -> Path:
                if ref.uri not in paths:
                    file = files.enter_context(self.open(ref))
                    paths[ref.uri] = held.by_descriptor(file.fileno()) or self.local_path(ref)
                return paths[ref.uri]

            yield hold

    def adopt(self, path: Path, name: str | None = None) -> FileRef:
        """Move a file that a task made into the store, and refer to it.

        Parameters
        ----------
        path
            The file; it is gone from there afterwards.
        name
            What the user will know it by; the file's own name if None.
        """
        if not path.is_file():
            raise InvalidArguments(f"{path} is not a file: an operation that returns a path must have written it")
        size = path.stat().st_size
        return FileRef(_STORE + self.need_store().put_file(path, move=True), name or path.name, size, reach=self)

    def output_path(self, path: str) -> Path:
        """Return a path to write to, its directory resolved.

        Raises
        ------
        PathRefused
            If it lies outside the roots, wherever its symbolic links lead.
        InputNotFound
            If its directory isn't there.
        """
        target = self._allowed(path)
        if not target.parent.is_dir():
            raise InputNotFound(
                f"the directory of {path} isn't there, as seen from {socket.gethostname()}: make it first, below a "
                f"shared root ({self._roots_text()})"
            )
        if target.is_dir():
            raise PathRefused(f"{path} is a directory: name the file to write in it")
        if target.exists() and not target.is_file():
            raise PathRefused(f"{path} is a device, a pipe or a socket: name a file to write")
        return target

    def directory_path(self, path: str) -> Path:
        """Return a directory, which may yet have to be made in one that is there.

        Raises
        ------
        PathRefused
            If it lies outside the roots, wherever its symbolic links lead, or is a file.
        InputNotFound
            If neither it nor the directory it lies in is there.
        """
        target = self._allowed(path)
        if target.exists() and not target.is_dir():
            raise PathRefused(f"{path} is a file: name a directory")
        if not target.is_dir() and not target.parent.is_dir():
            raise InputNotFound(
                f"{path} isn't there, as seen from {socket.gethostname()}: make it first, below a shared root "
                f"({self._roots_text()})"
            )
        return target

    # --- inside -------------------------------------------------------------------------------------

    def _irregular(self, ref: FileRef) -> InputNotFound:
        return InputNotFound(
            f"{ref.uri} is not a regular file, as seen from {socket.gethostname()}: pass a file's path"
        )

    def _allowed(self, text: str) -> Path:
        """Resolve a path and hold it against the roots. What is returned has no symbolic links left to be switched."""
        if not text.startswith("/") and (_URL.match(text) or not Path(text).is_absolute()):
            raise PathRefused(f"{text[:200]!r} is not an absolute path. Allowed are files below: {self._roots_text()}")
        if "\0" in text:
            raise PathRefused(f"{text[:200]!r} is not a path: leave out its null character")
        if len(text) > _LONGEST or any(len(os.fsencode(part)) > _LONGEST_NAME for part in text.split("/")):
            raise PathRefused(
                f"{text[:200]!r}… is too long for a path: shorten it to {_LONGEST} characters, and each name in it to "
                f"{_LONGEST_NAME} bytes"
            )
        try:
            real = Path(os.path.realpath(text))
        except OSError as error:  # a link that was followed is none any more
            raise PathRefused(f"{text[:500]} changes while it is looked at: {error}") from error
        for root in self.roots:
            if real.is_relative_to(os.path.realpath(root)):
                return real
        raise PathRefused(
            f"{text[:500]} lies outside what the worker on {socket.gethostname()} may touch "
            f"(shared roots: {self._roots_text()}). A file that exists beside the notebook is sent along by itself, so "
            "check the path's spelling; a file of the worker's has to lie below one of WORKBENCH_ROOTS"
        )

    def _below_root(self, path: Path) -> Path | None:
        """Return the path as it reads below a root; None where it isn't below any, links followed."""
        real = Path(os.path.realpath(path))
        for root in self.roots:
            real_root = os.path.realpath(root)
            if real.is_relative_to(real_root):
                return path if path.is_relative_to(root) else root / real.relative_to(real_root)
        return None

    def _roots_text(self) -> str:
        return ", ".join(map(str, self.roots)) or "none are configured"
