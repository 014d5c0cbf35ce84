"""What refers to the store, found without decoding it, and how what nothing refers to any more is removed.

Whether something is still needed is decided by whoever sweeps: in here are bytes, names and times only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from workbench.core.errors import StoreError, WorkbenchError
from workbench.values.digest import KEY, NAME
from workbench.values.store import RENEW, Store, check_key

STEP = 200
"""Objects looked at in one step of a sweep."""

STALE = 3600.0
"""Seconds after which a temporary file has no writer any more."""

_MARK = f"{NAME}/".encode()
# A reference holds the key as text. Where a size and the code 0 follow (see `codecs`: an encoded value, put into the
# store as it was), what lies there may itself hold references.
_REFERENCE = re.compile(
    b"(" + KEY.pattern.encode() + rb")((?:[\x00-\x7f]|\xcc.|\xcd..|\xce.{4}|\xcf.{8})\x00)?", re.DOTALL
)
_LONGEST = 72 + 10  # bytes a match takes
_CHUNK = 1 << 20


def find_references(*bodies: bytes) -> dict[str, bool]:
    """Return the keys that messages name, each with whether what lies there may hold references itself.

    Parameters
    ----------
    *bodies
        Messages, or encoded values, as they are. One without a reference costs one search for a few bytes.
    """
    found: dict[str, bool] = {}
    for body in bodies:
        if _MARK in body:
            for key, nests in _REFERENCE.findall(body):
                name = key.decode()
                found[name] = found.get(name, False) or bool(nests)
    return found


def read_references(file: BinaryIO) -> dict[str, bool]:
    """Return what an object in the store refers to, as `find_references` does; in bounded memory."""
    found: dict[str, bool] = {}
    rest = b""
    while chunk := file.read(_CHUNK):
        window = rest + chunk
        for key, unread in find_references(window).items():
            found[key] = found.get(key, False) or unread
        rest = window[-_LONGEST:]
    return found


def look_into(store: Store, key: str) -> dict[str, bool]:
    """Return what an object refers to, as `find_references` does; nothing where it isn't there any more.

    Raises
    ------
    StoreError
        Where the store can't be read.
    """
    with _told(store):
        try:
            if not store.remote:
                with (store.directory / check_key(key)).open("rb") as file:
                    return read_references(file)
            with store.backend() as (filesystem, root), filesystem.open(f"{root}/{check_key(key)}", "rb") as file:
                return read_references(file)
        except FileNotFoundError:
            return {}


def sweep(store: Store, *, age: float, needed: Callable[[Sequence[str]], set[str]], step: int = STEP) -> Iterator[int]:
    """Remove what is older than `age` seconds and not needed, and what writers that died have left, step by step.

    Parameters
    ----------
    store
        Where.
    age
        Seconds since something was put, or was to be put again.
    needed
        Told some keys, returns those that something refers to. Asked before an object is put out of reach, and once
        more after that.
    step
        How many objects to look at in one step.

    Yields
    ------
    int
        How many objects a step has removed.

    Raises
    ------
    StoreError
        Where the store can't be read or written.
    """
    place: _Place = _Remote(store) if store.remote else _Local(store.directory)
    if store.remote:
        age = max(age, 2 * RENEW)  # a writer takes what is younger than `RENEW` for safe
    with _told(store):
        place.tidy(time.time() - max(age, STALE))
        objects = place.objects()
        while batch := list(itertools.islice(objects, step)):
            old = [key for key, modified in batch if modified < time.time() - age]
            kept = needed(old) if old else set()
            yield sum(place.remove(key, time.time() - age, needed) for key in old if key not in kept)


class _Place(Protocol):
    """What sweeping takes."""

    def objects(self) -> Iterator[tuple[str, float]]:
        """Yield the keys, and when each was put."""

    def tidy(self, before: float) -> None:
        """Remove what was left half-written before a time, and put back what a sweep that died had put aside."""

    def remove(self, key: str, before: float, needed: Callable[[Sequence[str]], set[str]]) -> bool:
        """Remove one that hasn't been put again since; return whether it was."""


class _Local:
    """A directory, where a rename puts a file out of every writer's reach at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._aside = root / "aside"

    def objects(self) -> Iterator[tuple[str, float]]:
        """Yield the keys, and when each was put; one of 256 directories in memory at a time."""
        for prefix in _entries(self._root / NAME):
            for entry in _entries(Path(prefix.path)):
                key = f"{NAME}/{prefix.name}/{entry.name}"
                with contextlib.suppress(FileNotFoundError):
                    if KEY.fullmatch(key):
                        yield key, entry.stat(follow_symlinks=False).st_mtime

    def tidy(self, before: float) -> None:
        """Remove what was left half-written before a time, and put back what a sweep that died had put aside."""
        for entry in _entries(self._root / "tmp"):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    Path(entry.path).unlink()
        for entry in _entries(self._aside):
            with contextlib.suppress(FileNotFoundError):
                Path(entry.path).replace(self._root / entry.name.replace("_", "/"))

    def remove(self, key: str, before: float, needed: Callable[[Sequence[str]], set[str]]) -> bool:
        """Remove one that hasn't been put again since; return whether it was.

        A writer that finds the file renews its time: before the rename, that shows on the file aside, which goes back;
        after it, the writer finds nothing and puts the file anew.
        """
        target, aside = self._root / key, self._aside / key.replace("/", "_")
        self._aside.mkdir(mode=0o700, exist_ok=True)
        try:
            target.rename(aside)
            if aside.stat().st_mtime >= before or needed([key]):
                aside.replace(target)
                return False
            aside.unlink()
        except FileNotFoundError:  # another sweep was here
            return False
        return True


class _Remote:
    """An fsspec filesystem. Object stores can't rename, so there the time is looked at once more right before."""

    def __init__(self, store: Store) -> None:
        with store.backend() as (self._filesystem, self._root):
            pass

    def objects(self) -> Iterator[tuple[str, float]]:
        """Yield the keys, and when each was put; one of 256 directories in memory at a time."""
        for path in self._files():
            key = path[len(self._root) + 1 :]
            if KEY.fullmatch(key):
                with contextlib.suppress(FileNotFoundError):
                    yield key, self._modified(path)

    def tidy(self, before: float) -> None:
        """Remove what was left half-written before a time."""
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                if path.endswith(".tmp") and self._modified(path) < before:
                    self._filesystem.rm_file(path)

    def remove(self, key: str, before: float, needed: Callable[[Sequence[str]], set[str]]) -> bool:
        """Remove one that hasn't been put again since; return whether it was."""
        path = f"{self._root}/{key}"
        try:
            if needed([key]):
                return False
            self._filesystem.invalidate_cache(path)  # what was listed may have been put again meanwhile
            if self._modified(path) >= before:
                return False
            self._filesystem.rm_file(path)
        except FileNotFoundError:
            return False
        return True

    def _files(self) -> Iterator[str]:
        self._filesystem.invalidate_cache()
        with contextlib.suppress(FileNotFoundError):
            for prefix in self._filesystem.ls(f"{self._root}/{NAME}", detail=False):
                with contextlib.suppress(FileNotFoundError):
                    for path in self._filesystem.ls(prefix, detail=False):
                        yield str(path)

    def _modified(self, path: str) -> float:
        return float(self._filesystem.modified(path).timestamp())


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _told(store: Store) -> Iterator[None]:
    """Say of whatever goes wrong what was tried; fsspec's backends have errors of their own."""
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        raise StoreError(f"{store!r} can't be swept: {type(error).__name__}: {error}") from error
