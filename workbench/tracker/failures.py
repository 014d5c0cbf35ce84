"""Which failures are alike: those of one operation with one exception, raised at one place. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from workbench.core.messages import Failure
from workbench.core.states import State, TaskRecord

_FRAME = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<function>[^\n]+)')
_PARTS = 3  # of a path that are told: enough to tell one __init__.py from another
_LONGEST = 300


class Alike(NamedTuple):
    """What failures of one group have in common."""

    group: str  # 16 hexadecimal digits, the same wherever they are worked out
    operation: str
    type: str
    frame: str


def group_of(record: TaskRecord) -> Alike | None:
    """Return the group of a task that has failed; None where it hasn't."""
    if record.state is not State.FAILED:
        return None
    failure = record.failure or Failure(type="Unknown", message="")
    operation, kind, frame = record.operation, failure.type[:_LONGEST], last_frame(failure.traceback)
    digest = hashlib.blake2b("\0".join((operation, kind, frame)).encode(errors="replace"), digest_size=8)
    return Alike(digest.hexdigest(), operation, kind, frame)


def last_frame(traceback: str) -> str:
    """Return where an exception was raised, of a traceback as Python prints it; empty where it names no place.

    Examples
    --------
    >>> last_frame('  File "/usr/lib/python3/json/decoder.py", line 355, in raw_decode')
    'python3/json/decoder.py:355 in raw_decode'
    """
    start = traceback.rfind('File "')
    found = _FRAME.match(traceback, start) if start >= 0 else None
    if found is None:
        return ""
    path = "/".join(found["file"].split("/")[-_PARTS:])
    return f"{path}:{found['line']} in {found['function']}"[:_LONGEST]
