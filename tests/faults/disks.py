"""A small disk (a tmpfs) that a test may fill, or make read-only. Needs root, who may mount."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.support import wait_until


def why_not(place: Path) -> str:
    """Return why no disk can be mounted on an empty directory; empty where one can."""
    try:
        with Disk(place, 64 * 1024) as disk, disk.read_only():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        return f"disks can't be mounted here: {detail.strip()}"


class Disk:
    """A filesystem of its own; use as a context manager. Whatever uses it has to end before it does.

    Parameters
    ----------
    path
        An empty directory, which becomes its root.
    size
        Bytes it holds.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size

    def __enter__(self) -> Self:
        self.path.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size},mode=0755", "workbench-test", str(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", str(self.path))

    @contextlib.contextmanager
    def full(self, but: int = 0) -> Iterator[None]:
        """Fill it up, but for so many bytes."""
        ballast = self.path / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(64 * 1024)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - but))
        try:
            yield
        finally:
            ballast.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nothing be written."""
        wait_until(
            lambda: self._remount("ro"), what="no file is being written, so that the kernel lets it be read-only"
        )
        try:
            yield
        finally:
            assert self._remount("rw")

    def _remount(self, mode: str) -> bool:
        done = subprocess.run(["mount", "-o", f"remount,{mode}", self.path], capture_output=True, text=True, timeout=20)
        if done.returncode and "busy" not in done.stderr:
            done.check_returncode()
        return done.returncode == 0


def _run(*command: str) -> None:
    environ = {**os.environ, "LC_ALL": "C"}
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=20, env=environ)
