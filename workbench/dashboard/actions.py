"""What can be done from the dashboard: each action is the client's own, and reports in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from workbench.client.client import Client
from workbench.core.rpc import Retried
from workbench.dashboard.look import plural

REASON = "from the dashboard"
CANCEL_TIMEOUT = 15.0

Action = Callable[[Client, Mapping[str, str]], Awaitable[str]]


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


_ALL = (cancel, retry, retry_group, discard_group, drain, replay, replay_all, purge, purge_all)
ACTIONS: dict[str, Action] = {action.__name__: action for action in _ALL}
