"""What can be done from the dashboard: each action is the client's own, and reports in a sentence.

An action that has begun goes on to its end, also where the page has gone that it was asked for on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from workbench.client.client import Client
from workbench.core.errors import WorkbenchError
from workbench.core.rpc import Retried
from workbench.dashboard.look import plural

logger = logging.getLogger(__name__)

REASON = "from the dashboard"
CANCEL_TIMEOUT = 15.0

Action = Callable[[Client, Mapping[str, str]], Awaitable[str]]

_UNDER_WAY: set[asyncio.Task[Report]] = set()


class Report(NamedTuple):
    """What an action came to."""

    sentence: str
    bad: bool = False


def begin(client: Client, act: str, data: Mapping[str, str]) -> asyncio.Task[Report]:
    """Begin an action, and return what runs it; who waits for it shields it."""
    task = asyncio.get_running_loop().create_task(_report(client, act, data))
    _UNDER_WAY.add(task)  # a loop holds its tasks weakly
    task.add_done_callback(_UNDER_WAY.discard)
    return task


def explain(error: Exception) -> Report:
    """Return what is reported where something failed; what nobody foresaw is logged with its traceback, too."""
    if not isinstance(error, WorkbenchError):
        logger.error("the dashboard met an error that it doesn't know", exc_info=error)
    return Report(f"{type(error).__name__}: {error}", bad=True)


async def _report(client: Client, act: str, data: Mapping[str, str]) -> Report:
    try:
        return Report(await ACTIONS[act](client, data))
    except Exception as error:
        logger.warning("the action %s failed: %s", act, error)  # there may be no page left to say so
        return explain(error)


async def cancel(client: Client, data: Mapping[str, str]) -> str:
    """Cancel one task or several, and wait for what comes of it."""
    told = await client.cancel(data["tasks"].split(), reason=REASON, timeout=CANCEL_TIMEOUT)
    if len(told) == 1:
        return f"Task {told[0].task_id}: {told[0].sentence}."
    ends = Counter(each.state.value if each.state is not None else "unknown" for each in told)
    return f"{plural(len(told), 'task')}: {', '.join(f'{number} {end}' for end, number in ends.items())}."


async def retry(client: Client, data: Mapping[str, str]) -> str:
    """Send a task again that has ended otherwise than well."""
    return _retried(await client.live.retry(data["tasks"].split()))


async def retry_group(client: Client, data: Mapping[str, str]) -> str:
    """Send all tasks of a group of failures again."""
    return _retried(await client.live.retry_group(data["group"]))


async def discard_group(client: Client, data: Mapping[str, str]) -> str:
    """Take a group of failures off the list."""
    return f"{plural(await client.live.discard_group(data['group']), 'task')} taken off the list; they stay on record."


async def drain(client: Client, data: Mapping[str, str]) -> str:
    """Have a worker end what it runs, and stop."""
    running = await client.live.drain(data["worker"])
    ends = f"stops when the {plural(running, 'task')} it runs {'has' if running == 1 else 'have'} ended"
    told = f"{data['worker']} takes nothing new, and {ends if running else 'stops'}."
    return f"{told} It stays away until it's started again: by workbench resume, where workbench up started it."


async def replay(client: Client, data: Mapping[str, str]) -> str:
    """Send one dead letter again."""
    handles = await client.replay([data["letter"]])
    return f"{plural(len(handles), 'dead letter')} sent again."


async def replay_all(client: Client, data: Mapping[str, str]) -> str:
    """Send all dead letters again that can be."""
    handles = await client.replay(all=True)
    return f"{plural(len(handles), 'dead letter')} sent again."


async def purge(client: Client, data: Mapping[str, str]) -> str:
    """Remove one dead letter for good."""
    return f"{plural(await client.purge_dead([data['letter']]), 'dead letter')} removed."


async def purge_all(client: Client, data: Mapping[str, str]) -> str:
    """Remove all dead letters for good."""
    return f"{plural(await client.purge_dead(all=True), 'dead letter')} removed."


def _retried(told: Retried) -> str:
    sent = f"{plural(len(told.sent), 'task')} sent again"
    if not told.refused:
        return f"{sent}."
    why = next(iter(told.refused.values()))
    return f"{sent}, {len(told.refused):,} refused: {why}."


_ALL: dict[Action, str] = {
    cancel: "Cancelling",
    retry: "Sending again",
    retry_group: "Sending the group again",
    discard_group: "Discarding the group",
    drain: "Draining",
    replay: "Sending the dead letter again",
    replay_all: "Sending all dead letters again",
    purge: "Discarding the dead letter",
    purge_all: "Discarding all dead letters",
}
ACTIONS: dict[str, Action] = {action.__name__: action for action in _ALL}
DOING: dict[str, str] = {action.__name__: words for action, words in _ALL.items()}
"""What is said of each while it is under way."""
