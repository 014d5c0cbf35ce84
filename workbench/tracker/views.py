"""`Views` of the database for lists and live views: pages, counts, failures, and what has happened of late."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from workbench.core.live import FailureGroup
from workbench.core.rpc import Filter
from workbench.core.states import State, TaskRecord
from workbench.tracker import arguments, search
from workbench.tracker.batch import decode_record
from workbench.tracker.connections import Connections, chunks
from workbench.tracker.groups import Group
from workbench.tracker.schema import failure_groups, from_micros, tasks, to_micros
from workbench.tracker.search import Branch

RECENT = 50_000
"""Tasks that a tracker looks back on as it starts."""


class Found(NamedTuple):
    """A page of a search."""

    records: list[TaskRecord]
    total: int
    exact: bool
    before: str | None  # for the next page; None where this is the last
    unfinished: bool = False  # whether the search ended before the page was full, and there are tasks left to look at


class Views:
    """What lists and live views ask.

    Parameters
    ----------
    connections
        To the database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def newest(
        self,
        *,
        state: State | None = None,
        operation: str | None = None,
        worker: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[TaskRecord]:
        """Return the newest tasks that match, newest first, older than the task `before`."""
        chosen = Filter(states=() if state is None else (state,), operation=operation, worker=worker)
        with self._connections.read() as connection:
            counts = {(operation, each): 1 for each in State} if operation else {}
            wanted = search.branches(chosen, counts, None)
            return _in_order(connection, search.page(connection, chosen, wanted, before, limit))

    def search(self, chosen: Filter, counts: search.Counts, *, before: str | None, limit: int) -> Found:
        """Return a page of the tasks that match, the newest first.

        Parameters
        ----------
        chosen
            Which tasks.
        counts
            How many tasks there are by operation and state: spares walks along indexes.
        before
            The id of the last task on the page before; None for the first page.
        limit
            Records on a page.
        """
        with self._connections.read() as connection:
            found = search.names(connection, chosen.text, counts) if chosen.text else None
            grouped = search.operation_of(connection, chosen.group) if chosen.group else None
            wanted = search.branches(chosen, counts, found, grouped)
            if chosen.argument:
                return self._looked(connection, chosen, wanted, before, limit)
            ids = search.page(connection, chosen, wanted, before, limit + 1)
            records = _in_order(connection, ids[:limit])
            total = search.total(chosen, counts)
            if total is None:
                total = search.count(connection, chosen, wanted, search.COUNTED + 1)
                exact = total <= search.COUNTED
                total = min(total, search.COUNTED)
            else:
                exact = True
        return Found(records, total, exact, ids[limit - 1] if limit and len(ids) > limit else None)

    def _looked(
        self,
        connection: sa.Connection,
        chosen: Filter,
        wanted: Sequence[Branch],
        before: str | None,
        limit: int,
    ) -> Found:
        ids, reached = arguments.look(connection, chosen, wanted, before, limit + 1)
        full = len(ids) > limit
        return Found(
            records=_in_order(connection, ids[:limit]),
            total=len(ids),
            exact=before is None and reached is None,
            before=ids[limit - 1] if full and limit else reached,
            unfinished=not full and reached is not None,
        )

    def counts_by_operation(self) -> dict[tuple[str, State], int]:
        """Return how many tasks there are by operation and state, where there are any."""
        query = sa.select(tasks.c.operation, tasks.c.state, sa.func.count()).group_by(tasks.c.operation, tasks.c.state)
        with self._connections.read() as connection:
            return {(operation, State(state)): count for operation, state, count in connection.execute(query)}

    def counted_groups(self, which: Sequence[str] | None = None) -> dict[str, Group]:
        """Return the groups of failed tasks, or those of `which` that there are: walks over all that is in them."""
        ended, group = tasks.c.finished_at, tasks.c.failure_group
        query = (
            sa.select(group, sa.func.count(), sa.func.min(ended), sa.func.max(ended), sa.func.max(tasks.c.task_id))
            .where(group.is_not(None))
            .group_by(group)
        )
        queries = [query] if which is None else [query.where(group.in_(chunk)) for chunk in chunks(which)]
        with self._connections.read() as connection:
            return {
                name: Group(size, from_micros(first_at), from_micros(last_at), latest)
                for each in queries
                for name, size, first_at, last_at, latest in connection.execute(each)
            }

    def told_groups(self, groups: Sequence[tuple[str, Group]]) -> tuple[FailureGroup, ...]:
        """Return groups of failed tasks with what the tasks of each have in common, and the message of its newest."""
        with self._connections.read() as connection:
            named: dict[str, sa.Row[tuple[str, str, str, str]]] = {}
            for chunk in chunks([name for name, _ in groups]):
                names = sa.select(failure_groups).where(failure_groups.c.group_id.in_(chunk))
                named |= {row.group_id: row for row in connection.execute(names)}
            latest = records_of(connection, [group.latest for _, group in groups])
        told = []
        for name, group in groups:
            failure = latest[group.latest].failure
            told.append(
                FailureGroup(
                    group=name,
                    operation=named[name].operation,
                    type=named[name].type,
                    frame=named[name].frame,
                    count=group.size,
                    first_at=group.first_at,
                    last_at=group.last_at,
                    latest=group.latest,
                    message=failure.message[:1000] if failure is not None else "",
                )
            )
        return tuple(told)

    def recent(self, *, now: datetime, seconds: int, most: int = RECENT) -> list[TaskRecord]:
        """Return the tasks that have ended, come in or begun of late, `most` of each, in the order of their ids."""
        begin = now - timedelta(seconds=seconds)
        ended = (
            sa.select(tasks.c.record)
            .where(
                tasks.c.finished_at >= to_micros(begin),
                tasks.c.finished_at.is_not(None),
                tasks.c.swept_at.is_(None),
            )
            .order_by(tasks.c.finished_at.desc())
            .limit(most)
        )
        found: dict[str, TaskRecord] = {}
        with self._connections.read() as connection:
            queries = [ended]
            for state in (State.QUEUED, State.RETRYING, State.RUNNING):
                here = tasks.c.state == state.value
                # What runs is on view however long it has: few, one a slot.
                late = here if state is State.RUNNING else sa.and_(here, tasks.c.task_id >= search.first_id(begin))
                queries.append(sa.select(tasks.c.record).where(late).order_by(tasks.c.task_id.desc()).limit(most))
            for query in queries:
                for blob in connection.scalars(query):
                    record = decode_record(blob)
                    found[record.task_id] = record
        return [found[task_id] for task_id in sorted(found)]

    def message(self, task_id: str) -> tuple[bytes | None, bytes | None]:
        """Return a task's message and its outcome as they came; None for what isn't there, or any more."""
        query = sa.select(tasks.c.task, tasks.c.outcome).where(tasks.c.task_id == task_id)
        with self._connections.read() as connection:
            row = connection.execute(query).one_or_none()
        return (None, None) if row is None else (row.task, row.outcome)

    def sent(self, task_ids: Sequence[str]) -> dict[str, tuple[TaskRecord, bytes | None]]:
        """Return the records of those tasks that are known, each with its newest message, where that is kept."""
        found = {}
        with self._connections.read() as connection:
            for chunk in chunks(task_ids):
                query = sa.select(tasks.c.record, tasks.c.task).where(tasks.c.task_id.in_(chunk))
                for blob, task in connection.execute(query):
                    record = decode_record(blob)
                    found[record.task_id] = record, task
        return found


def brief(record: TaskRecord) -> TaskRecord:
    """Return a record without what was printed, and without the traceback."""
    failure = record.failure and msgspec.structs.replace(record.failure, traceback="")
    return msgspec.structs.replace(record, output="", failure=failure)


def records_of(connection: sa.Connection, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
    """Return the records of those tasks that are known."""
    known = {}
    for chunk in chunks(task_ids):
        for blob in connection.scalars(sa.select(tasks.c.record).where(tasks.c.task_id.in_(chunk))):
            record = decode_record(blob)
            known[record.task_id] = record
    return known


def groups_of(connection: sa.Connection, records: Iterable[TaskRecord]) -> dict[str, str]:
    """Return the groups of failures that these tasks are in, by task id."""
    failed = [record.task_id for record in records if record.state is State.FAILED]
    query = sa.select(tasks.c.task_id, tasks.c.failure_group).where(tasks.c.failure_group.is_not(None))
    return {
        task_id: group
        for chunk in chunks(failed)
        for task_id, group in connection.execute(query.where(tasks.c.task_id.in_(chunk)))
    }


def _in_order(connection: sa.Connection, task_ids: Sequence[str]) -> list[TaskRecord]:
    known = records_of(connection, task_ids)
    return [known[task_id] for task_id in task_ids]
