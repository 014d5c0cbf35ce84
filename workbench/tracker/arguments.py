"""Searching in arguments: a walk back in time over the messages that are kept, for a bounded while.

No index has the arguments, as every task would have to pay for it. What a search couldn't look through in its time is
told, and the next page goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from workbench.core.messages import Task, decode
from workbench.core.rpc import Filter
from workbench.tracker import search
from workbench.tracker.connections import chunks
from workbench.tracker.schema import tasks

PATIENCE = 0.15
"""Seconds that one search looks on: half of what a reader of the dashboard should wait."""

_STEP = 200  # tasks from one look at the clock to the next


class Looked(NamedTuple):
    """What was found, and how far the walk came."""

    ids: list[str]  # the newest first
    reached: str | None  # the last that was looked at; None where there are no more


def look(
    connection: sa.Connection,
    chosen: Filter,
    wanted: Sequence[search.Branch],
    before: str | None,
    limit: int,
) -> Looked:
    """Walk over the tasks of these branches, back from `before`, for those with a text in their arguments.

    Parameters
    ----------
    connection
        To the database.
    chosen
        The filter; its `argument` is looked for.
    wanted
        Its branches.
    before
        The id to begin after; None for the newest.
    limit
        How many are looked for.
    """
    part = _folded(chosen.argument)
    until = time.monotonic() + PATIENCE
    found: list[str] = []
    while True:
        ids = search.page(connection, chosen, wanted, before, _STEP)
        having = _having(connection, ids, part)
        for task_id in ids:
            before = task_id
            if task_id in having:
                found.append(task_id)
                if len(found) == limit:
                    return Looked(found, before)
        if len(ids) < _STEP:
            return Looked(found, None)
        if time.monotonic() > until:
            return Looked(found, before)


def _having(connection: sa.Connection, ids: Sequence[str], part: bytes) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(ids):
        query = sa.select(tasks.c.task_id, tasks.c.task).where(tasks.c.task_id.in_(chunk), tasks.c.task.is_not(None))
        found.update(task_id for task_id, body in connection.execute(query) if _has(body, part))
    return found


def _has(body: bytes, part: bytes) -> bool:
    """Whether a message has this in its arguments: text lies in there as it is, numbers don't."""
    if part not in body.lower():
        return False  # nearly all: the rest of the message is read for those only that may match
    try:
        message = decode(body)
    except msgspec.DecodeError:
        return False
    values = (*message.args, *message.kwargs.values()) if isinstance(message, Task) else ()
    return any(part in bytes(value).lower() for value in values)


def _folded(text: str) -> bytes:
    """Return a text as it lies in messages that are `lower`: case doesn't matter for the letters of ASCII."""
    return text.encode().lower()
