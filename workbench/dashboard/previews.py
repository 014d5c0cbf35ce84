"""What a result looks like: a picture, the head of a table, a text; all of it escaped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from workbench.core.errors import ResultExpired, WorkbenchError
from workbench.core.states import State, TaskRecord
from workbench.dashboard.look import Html, clip, empty, esc
from workbench.notebook.reprs import preview_of

if TYPE_CHECKING:
    from workbench.client.client import Client

TIMEOUT = 5.0


async def of(client: Client, record: TaskRecord) -> Html:
    """Return the preview of a task's result, or why there is none. Whatever is wrong with it is said, not raised."""
    if record.state is not State.SUCCEEDED:
        words = "It ended without a result." if record.state.terminal else "It hasn't ended yet."
        return empty("No result", words)
    try:
        value = await asyncio.to_thread(client.get(record.task_id).result, TIMEOUT)  # to decode it takes a while
    except ResultExpired:
        return empty("The result is no longer kept", "Its retention time is over; the record stays.")
    except (WorkbenchError, OSError) as error:
        return empty("The result can't be shown here", f"{type(error).__name__}: {error}")
    if value is None:
        return Html("<code>None</code>")
    return Html(preview_of(value)) or clip(esc(record.summary))
