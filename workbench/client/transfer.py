"""Files on their way into the store and out of it, at a user's wish, with somebody told how far they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from workbench.client.bar import Bar
from workbench.core.errors import InputNotFound, InvalidArguments
from workbench.values.files import Files
from workbench.values.refs import FileRef

Progress = Callable[[int, int], object]
"""Called with how many bytes are through, and how many there are in all."""


def upload(files: Files, path: str | os.PathLike[str], progress: Progress | None = None) -> FileRef:
    """Copy a local file into the store, and refer to it. See `Producer.upload`."""
    if isinstance(path, FileRef) and path.stored:
        return path
    source = files.absolute(path)
    if not source.exists():
        raise InputNotFound(f"there is no {source} here to upload: check the path's spelling")
    if not source.is_file():
        raise InvalidArguments(f"{source} is not a regular file: upload files one by one, or a zip of them")
    size = source.stat().st_size
    with Bar(f"↑ {source.name}", size) as bar:
        counter = _Counter(progress or bar, size)
        key = files.need_store().put_file(source, tell=counter)
        counter.finish()
    return FileRef(f"store:{key}", source.name, size, reach=files)


def download(files: Files, ref: FileRef, path: str | os.PathLike[str] = ".", progress: Progress | None = None) -> Path:
    """Copy what a reference names to a local path. See `Producer.download`."""
    if not isinstance(ref, FileRef):
        raise InvalidArguments(
            f"ref takes a FileRef, as it comes back in a result or from upload, got {type(ref).__name__}"
        )
    ref = FileRef(ref.uri, ref.name, ref.size, reach=files)
    with Bar(f"↓ {ref.name}", ref.size or 0) as bar:
        counter = _Counter(progress or bar, ref.size or 0)
        target = ref.download(path, tell=counter)
        counter.finish()
    return target


class _Counter:
    """Adds the chunks up."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._progress(self._done, max(self._total, self._done))

    def finish(self) -> None:
        """Tell that all is there, where the store had it already, or there was nothing to move."""
        if self._done < self._total or not self._total:
            self._progress(self._total, self._total)
