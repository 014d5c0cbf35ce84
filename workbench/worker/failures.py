"""What a task raised, as data: nothing in it needs the code that raised it."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from workbench.core.errors import Reject, Retry, StoreError, WorkbenchError
from workbench.core.messages import Failure
from workbench.core.texts import plain

MAX_TRACEBACK = 16 * 1024
_HERE = Path(__file__).parent


def _says_it_all(error: BaseException) -> bool:
    """Whether an error of ours was raised by our own code: what it says is for the user, where it was raised isn't."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if isinstance(error, Retry | Reject):
        return True  # it was raised to be read
    return isinstance(error, WorkbenchError) and bool(frames) and _is_ours(frames[-1][0].f_code.co_filename)


def _is_ours(filename: str) -> bool:
    return filename.startswith(str(Path(__file__).parent.parent))


_ROOTS = (object, BaseException, Exception)

# A file server or a peer is away: what the same task does in a while may well succeed. Not among them is what the task
# or its configuration has to change: a missing file, a missing permission, a full disk.
_SURROUNDINGS = frozenset(
    getattr(errno, name)
    for name in (
        "EIO",
        "ESTALE",
        "ETIMEDOUT",
        "ENOTCONN",
        "ECONNRESET",
        "ECONNREFUSED",
        "ECONNABORTED",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "EREMOTEIO",  # Linux's
    )
    if hasattr(errno, name)
)

_HINTS = {
    "SoftTimeLimit": "give it longer with client.with_options(soft_timeout=…), or less to do",
    "MemoryLimitExceeded": "the slot's memory limit was reached: give the worker a higher --memory-limit, or the task "
    "less data at once",
}

# What libraries raise where they are refused memory: NumPy's and Arrow's derive from the first, DuckDB's doesn't.
_NO_MEMORY = frozenset({"MemoryError", "OutOfMemoryException"})


def describe(error: BaseException) -> Failure:
    """Turn an exception into data: its name, its text, and the traceback from the operation on."""
    frames = error.__traceback__
    while frames is not None and Path(frames.tb_frame.f_code.co_filename).parent == _HERE:
        frames = frames.tb_next
    text = "" if _says_it_all(error) else "".join(traceback.format_exception(type(error), error, frames))
    names = [base.__name__ for base in type(error).__mro__ if base not in _ROOTS]
    message = _text(error)
    if _is_of_memory(error):  # one name for all of them, which is also that of an attempt that was killed for it
        said = ": ".join(filter(None, (names[0], message)))
        message = f"the attempt asked for more memory than the slot may use ({said})"
        names.insert(0, "MemoryLimitExceeded")
    asked = _asked(error)
    return Failure(
        type=names[0],
        message=_fitting(message),
        traceback=_fitting(text),
        hint=_HINTS.get(names[0], ""),
        bases=tuple(names[1:]),
        transient=_is_transient(error),
        asks="retry" if isinstance(asked, Retry) else "reject" if isinstance(asked, Reject) else "",
        retry_in=asked.delay if isinstance(asked, Retry) else None,
    )


def _is_of_memory(error: BaseException) -> bool:
    """Whether a library ran out of memory. An error of ours says itself what was too large."""
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & _NO_MEMORY) and not isinstance(error, WorkbenchError)


def _asked(error: BaseException) -> Retry | Reject | None:
    """Return what the operation asked for, also in a group, as `asyncio.TaskGroup` raises them: a rejection first."""
    if isinstance(error, Retry | Reject):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    asked = [each for each in map(_asked, error.exceptions) if each is not None]
    return next((each for each in asked if isinstance(each, Reject)), asked[0] if asked else None)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, StoreError) or (
        isinstance(error, OSError) and not isinstance(error, WorkbenchError) and error.errno in _SURROUNDINGS
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"its text can't be told, as its __str__ raises {type(broken).__name__}"


def _fitting(text: str) -> str:
    """Cut the middle out of a text that is too long for a message; escape what UTF-8 has no form for, and controls."""
    if len(text) > MAX_TRACEBACK:
        text = f"{text[: MAX_TRACEBACK // 2]}\n…\n{text[-MAX_TRACEBACK // 2 :]}"
    return plain(text.encode(errors="backslashreplace").decode())
