"""How the aggregates begin where the database stands."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from workbench.core.errors import WorkbenchError
from workbench.core.messages import utcnow
from workbench.core.states import State
from workbench.tracker.aggregates import Aggregates
from workbench.tracker.database import Database
from workbench.tracker.groups import Group
from workbench.tracker.tallies import KEPT

AGAIN = 30.0
"""Seconds after which tasks are counted once more: the tracker before this one may have written for a moment longer."""


def look_back(aggregates: Aggregates, database: Database) -> None:
    """Count what there is, and recall what happened in the last hour, as far as the database tells; blocks."""
    now = utcnow()
    aggregates.recount(database.counts_by_operation())
    aggregates.groups.recount(database.counted_groups())
    aggregates.recall(database.recent(now=now, seconds=KEPT), now)
    for record, seen_at in database.heard(now=now):
        aggregates.meet([record], seen_at)


async def count_again(aggregates: Aggregates, database: Database, writer: Executor) -> None:
    """Count once more after a while, in the thread that writes: between two batches, so that none is counted twice."""
    while True:
        await asyncio.sleep(AGAIN)
        try:
            counts, groups = await asyncio.get_running_loop().run_in_executor(writer, _counted, database)
        except WorkbenchError:
            continue  # the database is away; whoever writes says so
        aggregates.recount(counts)
        aggregates.groups.recount(groups)
        return


def _counted(database: Database) -> tuple[dict[tuple[str, State], int], dict[str, Group]]:
    return database.counts_by_operation(), database.counted_groups()
