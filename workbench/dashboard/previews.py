"""What a result looks like: a picture, the head of a table, a text; all of it escaped."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from workbench.core.errors import InputError, ResultExpired, WorkbenchError
from workbench.core.live import Detail
from workbench.core.states import State
from workbench.dashboard.look import Html, empty, esc
from workbench.notebook.reprs import preview_of

if TYPE_CHECKING:
    from workbench.client.client import Client

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
MOST = 4_000_000
"""Cells, or pixels, up to which a result is fetched and decoded to show how it begins."""
_SHAPE = re.compile(r"^(?:DataFrame|Table|Image), (\d+) × (\d+)")
_FILE = re.compile(r", [\d.]+ [kMGT]?B$")


class Preview(NamedTuple):
    """What a result looks like, or why it isn't shown."""

    html: Html
    settled: bool = True
    """Whether another look would show the same: not where what keeps the result didn't answer."""


async def of(client: Client, detail: Detail) -> Preview:
    """Return the preview of a task's result, or why there is none. Whatever is wrong with it is said, not raised."""
    record = detail.record
    if record.state is not State.SUCCEEDED:
        words = "It ended without a result." if record.state.terminal else "It hasn't ended yet."
        return Preview(empty("No result", words))
    if not is_small(record.summary):
        return Preview(_text(detail))
    try:
        # In a thread, as it may have to be fetched from the store, and takes a while to decode and to draw.
        return Preview(Html(await asyncio.to_thread(_look, client, record.task_id)) or _text(detail))
    except ResultExpired:
        return Preview(empty("The result is no longer kept", "Its retention time is over; the record stays."))
    except Exception as error:
        foreseen = isinstance(error, (WorkbenchError, OSError))
        if not foreseen:
            logger.exception("the result of task %s could not be drawn", record.task_id)
        why = f"It can't be shown: {type(error).__name__}: {error}"
        settled = not foreseen or isinstance(error, InputError)
        return Preview(Html(f"<p class='faint'>{esc(why)}</p>{_text(detail)}"), settled)


def _look(client: Client, task_id: str) -> str:
    return preview_of(client.get(task_id).result(TIMEOUT))


def is_small(summary: str) -> bool:
    """Whether a result, by its few words, is a file, or a table or a picture that can be fetched to be looked at."""
    if _FILE.search(summary) is not None:
        return not summary.startswith("bytes, ")
    shape = _SHAPE.search(summary)
    return shape is not None and int(shape[1]) * int(shape[2]) <= MOST


def _text(detail: Detail) -> Html:
    return Html(f"<pre>{esc(detail.result or detail.record.summary)}</pre>")
