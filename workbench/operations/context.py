"""What an operation can ask of the attempt it runs in: its input files, and a place for the files it makes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from workbench.core.errors import InputNotFound, InvalidArguments
from workbench.values.refs import FileRef

Resolve = Callable[[FileRef], Path]

_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)
_resolve: ContextVar[Resolve | None] = ContextVar("resolve", default=None)


def input_path(source: FileRef | str | os.PathLike[str]) -> Path:
    """Return a local path of an input file, for reading only.

    Parameters
    ----------
    source
        What the operation was called with. In a worker always a reference; a function that is called directly may get
        a path as well.

    Raises
    ------
    InputNotFound
        If the file isn't there.
    PathRefused
        If it lies outside the worker's roots.
    WorkbenchError
        If nothing here knows how to reach it: a reference into the store, made by hand.
    """
    path = _referred(source) if isinstance(source, FileRef) else Path(source).expanduser()
    if not path.is_file():
        raise InputNotFound(f"{path} isn't there, or isn't a regular file: check the path's spelling")
    return path


def _referred(ref: FileRef) -> Path:
    if (resolve := _resolve.get()) is not None:
        return resolve(ref)
    if ref._reach is None and Path(ref.uri).is_absolute():  # made by hand, in a notebook
        return Path(ref.uri)
    return ref.path


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


def write_file(name: str, output: str | None, write: Callable[[Path], None]) -> Path:
    """Make a file that is either complete or absent.

    Parameters
    ----------
    name
        The file's name where no `output` is given: it goes to `scratch_file`.
    output
        An operation's `OutputPath`. Its directory has to be there; a file of this name is replaced.
    write
        Called with the path of a new file beside the target, which takes the target's name when it returns.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidArguments
        If `output` is a directory, or lies in none.
    """
    target = Path(output).expanduser() if output is not None else scratch_file(name)
    if target.is_dir():
        raise InvalidArguments(f"output: {target} is a directory: name the file to write in it")
    if not target.parent.is_dir():
        raise InvalidArguments(f"output: the directory {target.parent} isn't there: make it first")
    part = target.with_name(f".{os.urandom(6).hex()}.part")
    try:
        write(part)
        _settle(part)
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return target


def _settle(path: Path) -> None:
    """Bring a file's bytes to the disk, so that its name never outlives them in a crash."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def attempt(scratch: Path, resolve: Resolve | None = None) -> Iterator[None]:
    """Let operations called within put their files below `scratch`, which is made when it is first asked for.

    Parameters
    ----------
    scratch
        This attempt's own directory.
    resolve
        Returns a local path of a reference's file. Without it references resolve themselves.
    """
    tokens = _scratch.set(scratch), _resolve.set(resolve)
    try:
        yield
    finally:
        _resolve.reset(tokens[1])
        _scratch.reset(tokens[0])
