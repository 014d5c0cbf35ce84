"""What an operation can ask of the attempt it runs in, and tell of it: files, limits, progress, notes."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, NamedTuple

from workbench.core.errors import InputNotFound, InvalidArguments, PathRefused
from workbench.core.texts import plain
from workbench.operations import disks, parts
from workbench.values import held
from workbench.values.refs import FileRef

Resolve = Callable[[FileRef], Path]
Tell = Callable[[float, str], None]
Overwrite = Literal["error", "replace"]

PAUSE = 0.25
"""Seconds between two tellings of progress; what is told meanwhile is dropped."""
LONGEST_MESSAGE = 500
LONGEST_NOTE, MOST_NOTES = 4000, 200
"""Characters of a note, and of its key; notes of an attempt. They travel with its outcome, and name what files hold."""


class Attempt:
    """The attempt that runs in this process.

    Parameters
    ----------
    memory_limit
        Bytes it may use; None for no limit.
    tell
        Sends how far it is.
    """

    def __init__(self, *, memory_limit: int | None = None, tell: Tell | None = None) -> None:
        self.memory_limit = memory_limit
        self.notes: dict[str, str] = {}
        self._tell = tell
        self._told_at = 0.0
        self._fraction = -1.0

    def progress(self, fraction: float, message: str) -> None:
        """Tell how far it is, unless it was told a moment ago; that it is done, in any case."""
        now = time.monotonic()
        if self._tell is None or (now - self._told_at < PAUSE and not (fraction == 1.0 > self._fraction)):
            return
        self._told_at, self._fraction = now, fraction
        self._tell(fraction, _text(message, LONGEST_MESSAGE))


_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)
_resolve: ContextVar[Resolve | None] = ContextVar("resolve", default=None)
_attempt: Attempt | None = None  # no context variable: an operation's own threads tell their progress, too


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
    StoreError
        If the attempt's directory, which lies where a local store does, can't be made.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain file name")
    directory = _scratch.get()
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="workbench-"))
    else:
        with disks.told(directory):
            directory.mkdir(parents=True, exist_ok=True)
    return directory / name


def progress(fraction: float, message: str = "") -> None:
    """Tell how far the operation is: whoever asks for the task's status sees it, and so does the dashboard.

    Call it as often as you like, from any thread: it is sent at most four times a second.

    Parameters
    ----------
    fraction
        From 0 to 1.
    message
        What it does now; cut after 500 characters.

    Raises
    ------
    ValueError
        If `fraction` isn't a number from 0 to 1.
    """
    try:
        number = float(fraction)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"progress takes a fraction from 0 to 1, got {fraction!r}")
    if _attempt is not None:
        _attempt.progress(number, message)


def note(key: str, value: str) -> None:
    """Note how the operation works, such as the engine it chose: its record shows it, up to `LONGEST_NOTE`."""
    if _attempt is not None:
        key = _text(key, LONGEST_NOTE)
        if key in _attempt.notes or len(_attempt.notes) < MOST_NOTES:
            _attempt.notes[key] = _text(value, LONGEST_NOTE)


def _text(value: object, longest: int) -> str:
    """Return a value as text that can travel: cut, with controls and what UTF-8 has no form for escaped."""
    text = plain(str(value)[: longest + 1].encode(errors="backslashreplace").decode())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def memory_limit() -> int | None:
    """Return the bytes that the operation may use; None where there is no limit, or outside a worker."""
    return _attempt.memory_limit if _attempt is not None else None


class Output(NamedTuple):
    """Where an operation's result goes: the values of its parameters `output` and `overwrite`.

    Where there is a file already, it is replaced in one step, or refused (`error`) before anything is written. What an
    earlier attempt of the same task has written is no such file.
    """

    path: str | None = None
    overwrite: Overwrite = "replace"


def write_file(name: str, output: Output, write: Callable[[Path], None]) -> Path:
    """Make a file that is either complete or absent.

    Parameters
    ----------
    name
        The file's name where no `output` is given: it goes to `scratch_file`.
    output
        Where to. The directory has to be there.
    write
        Called with the path of a new, empty file beside the target, which takes the target's name when it returns.

    Returns
    -------
    pathlib.Path
        The file. An attempt that is killed leaves nothing under its name; what it had written beside it is removed by
        the task's next attempt, or by the next one to write in that directory a day later.

    Raises
    ------
    InvalidArguments
        If `output` is a directory, or lies in none, or is there and is not to be replaced.
    OutputFailed
        If the disk where `output` lies is full or read-only.
    StoreError
        If there is no `output`, and that of the attempt's directory is.
    """
    check_output(output)
    target = Path(output.path).expanduser() if output.path is not None else scratch_file(name)
    overwrite = output.overwrite if output.path is not None else "replace"
    with file_in_the_making(target, overwrite=overwrite) as part:
        write(part)
    return target


def check_output(output: Output) -> None:
    """Raise where `write_file` would refuse to write: for what works a long time before it does."""
    if output.path is None:
        return
    target = Path(output.path).expanduser()
    if target.is_dir():
        raise InvalidArguments(f"output: {target} is a directory: name the file to write in it")
    if not target.parent.is_dir():
        raise InvalidArguments(f"output: the directory {target.parent} isn't there: make it first")
    _check_overwrite(target, output.overwrite)


@contextmanager
def file_in_the_making(target: Path, *, overwrite: Overwrite = "replace") -> Iterator[Path]:
    """Yield a new, empty file beside a target, which takes its name at the end. As `write_file`, for a `with` block.

    In a worker, the target's directory is held while it is written: nothing that is done to its name leads elsewhere.
    """
    _check_overwrite(target, overwrite)
    task = _task()
    output = None if _is_own(target) else target
    with (
        _held(target.parent) as directory,
        disks.told(target.parent, output),
        parts.beside(directory / target.name, task) as part,
        disks.told(target.parent, output),  # as it is before the file that has filled it is removed
    ):
        yield part
        parts.publish(part, directory / target.name, task, replace=overwrite == "replace", told=target)


def make_directory(path: Path) -> None:
    """Make a directory for output, with those it lies in, where it isn't there. In a worker no link is followed."""
    with disks.told(path.parent, None if _is_own(path) else path), _held(path, make=True):
        pass


@contextmanager
def _held(directory: Path, *, make: bool = False) -> Iterator[Path]:
    """Lend a path of a directory: in a worker, where others can put links into its name, one that follows none."""
    if _scratch.get() is None or _is_own(directory):
        if make:
            directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(held.directory(directory.absolute(), make=make))
        except OSError as error:
            if error.errno not in held.SWITCHED:
                raise
            raise PathRefused(
                f"output: {directory} leads through a link or a file ({error}), and a worker follows none when it "
                "writes: name the directory itself"
            ) from error
        yield path


def _is_own(path: Path) -> bool:
    """Tell whether a path is below the attempt's own directory."""
    own = _scratch.get()
    return own is not None and path.is_relative_to(own)


def _check_overwrite(target: Path, overwrite: Overwrite) -> None:
    if overwrite not in ("error", "replace"):
        raise InvalidArguments(f"overwrite: takes 'error' or 'replace', got {overwrite!r}")
    if overwrite == "error":
        parts.check_absent(target, _task(), target)


def _task() -> str | None:
    """Return whose attempt this is, as its directory is named."""
    directory = _scratch.get()
    return directory.name if directory is not None else None


@contextmanager
def attempt(scratch: Path, resolve: Resolve | None = None, current: Attempt | None = None) -> Iterator[None]:
    """Let operations called within put their files below `scratch`, which is made when it is first asked for.

    Parameters
    ----------
    scratch
        This attempt's own directory.
    resolve
        Returns a local path of a reference's file. Without it references resolve themselves.
    current
        Their limits, and where their progress and notes go. One at a time in a process.
    """
    global _attempt
    tokens = _scratch.set(scratch), _resolve.set(resolve)
    _attempt = current
    try:
        yield
    finally:
        _attempt = None
        _resolve.reset(tokens[1])
        _scratch.reset(tokens[0])
