"""What an operation can ask of the attempt it runs in: a place for the files it makes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)


def scratch_file(name: str) -> Path:
    """Return a path for a file that the operation makes.

    Parameters
    ----------
    name
        The file's name, without directories: what the user will see.

    Returns
    -------
    pathlib.Path
        In a directory of this attempt's own. An operation that returns such a path hands the file to its caller, as a
        `FileRef`; whatever else it leaves there is removed. Outside a worker, in a new temporary directory.

    Raises
    ------
    ValueError
        If the name holds a directory.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain file name")
    directory = _scratch.get()
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="workbench-"))
    else:
        directory.mkdir(parents=True, exist_ok=True)
    return directory / name


@contextmanager
def attempt(scratch: Path) -> Iterator[None]:
    """Let operations called within put their files below `scratch`, which is made when it is first asked for."""
    token = _scratch.set(scratch)
    try:
        yield
    finally:
        _scratch.reset(token)
