"""Searching among a million tasks: each search is a few branches, and each branch one walk along one index.

A branch names the columns its index begins with, in SQL that has `task_id` next, and so the newest come first without
sorting. A page takes a task that is in two branches once; a count leaves out of each branch what those before it have.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from workbench.core.rpc import Filter
from workbench.core.states import State
from workbench.tracker.schema import failure_groups, tasks, workers

COUNTED = 10_000
"""Matches up to which a count is exact, where the counters don't tell."""

ID_TOLD = 8
"""Characters of a task id from which on it is looked for: fewer are those of hours, as ids begin with their time."""

MOST_NAMES = 200  # that a text is looked for in

Counts = Mapping[tuple[str, State], int]
"""How many tasks there are, by operation and state."""


class Branch(NamedTuple):
    """Conditions that one index answers; None where a column is left open."""

    operation: str | None = None
    state: State | None = None
    worker: str | None = None
    group: str | None = None
    beginning: str | None = None  # of the task ids
    without: tuple[sa.ColumnElement[bool], ...] = ()  # what branches before it have: for counts only


class Names(NamedTuple):
    """What a text is part of."""

    operations: tuple[str, ...]
    workers: tuple[str, ...]
    groups: Mapping[str, str]  # of failures, each with its operation


def names(connection: sa.Connection, text: str, counts: Counts) -> Names:
    """Look for a text in the names of operations, workers and failures."""
    part = text.lower()
    pattern = f"%{_escaped(part)}%"

    def like(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        return sa.func.lower(column).like(pattern, escape="\\")

    kinds = sa.or_(like(failure_groups.c.type), like(failure_groups.c.frame))
    groups = sa.select(failure_groups.c.group_id, failure_groups.c.operation).where(kinds).limit(MOST_NAMES)
    return Names(
        tuple(sorted({operation for operation, _ in counts if operation and part in operation.lower()})),
        tuple(connection.scalars(sa.select(workers.c.worker).where(like(workers.c.worker)).limit(MOST_NAMES))),
        {row.group_id: row.operation for row in connection.execute(groups)},
    )


def operation_of(connection: sa.Connection, group: str) -> str | None:
    """Return the operation that all tasks of a group of failures have in common."""
    return connection.scalar(sa.select(failure_groups.c.operation).where(failure_groups.c.group_id == group))


def branches(chosen: Filter, counts: Counts, found: Names | None, grouped: str | None = None) -> list[Branch]:
    """Return the branches of a search.

    Parameters
    ----------
    chosen
        What is searched for.
    counts
        How many there are: branches without any are left out.
    found
        What the filter's text is part of, where it has one.
    grouped
        The operation of the filter's group of failures, where it has one.
    """
    operations = _operations(chosen.operation, counts)
    if chosen.group is not None:  # the group's index has no operation, and needs none
        if operations is not None and grouped not in operations:
            return []
        operations = None
    plain = Branch(worker=chosen.worker, group=chosen.group)
    if found is None:
        named = [plain]
    elif chosen.group is not None:
        named = list(_of_group(plain, chosen.text, found, grouped))
    else:
        named = list(_of_text(plain, chosen.text, found, operations))
    with_operations = named if operations is None else list(_of_operations(named, operations))
    return [each for branch in with_operations for each in _of_states(branch, chosen.states, counts)]


def total(chosen: Filter, counts: Counts) -> int | None:
    """Return how many tasks match, where the counters tell."""
    if chosen.worker or chosen.text or chosen.group or chosen.submitted_from or chosen.submitted_before:
        return None
    operations = _operations(chosen.operation, counts)
    return sum(
        count
        for (operation, state), count in counts.items()
        if (operations is None or operation in operations) and (not chosen.states or state in chosen.states)
    )


def page(
    connection: sa.Connection, chosen: Filter, wanted: Iterable[Branch], before: str | None, limit: int
) -> list[str]:
    """Return the ids of the newest tasks of these branches that are older than `before`, the newest first.

    What other branches have isn't left out by the database, which might walk long among nothing else.
    """
    found = []
    for branch in wanted:
        conditions = [*_conditions(branch), *_times(chosen)]
        if before is not None:
            conditions.append(tasks.c.task_id < before)
        query = sa.select(tasks.c.task_id).where(*conditions).order_by(tasks.c.task_id.desc()).limit(limit)
        found.append(connection.scalars(query).all())
    once = (task_id for task_id, _ in itertools.groupby(heapq.merge(*found, reverse=True)))
    return list(itertools.islice(once, limit))


def count(connection: sa.Connection, chosen: Filter, wanted: Sequence[Branch], most: int) -> int:
    """Count the tasks of these branches, up to `most`.

    What a walk has to leave out was counted before, so it's less than `most` as well: every walk is a short one.
    """
    counted = 0
    for branch in wanted:
        conditions = [*_conditions(branch), *branch.without, *_times(chosen)]
        these = sa.select(sa.literal(1)).where(*conditions).limit(most - counted)
        counted += connection.scalar(sa.select(sa.func.count()).select_from(these.subquery())) or 0
        if counted >= most:
            break
    return counted


def first_id(at: datetime) -> str:
    """Return the beginning of ids made at a time or later: those of producers bear it, as UUIDv7 does."""
    digits = f"{max(0, int(at.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:12]}"


def _operations(name: str | None, counts: Counts) -> tuple[str, ...] | None:
    """Return the operations of a name, which may be a family's; None for all."""
    if name is None or "." in name:
        return None if name is None else (name,)
    return tuple(sorted({operation for operation, _ in counts if operation.partition(".")[0] == name}))


def _of_text(plain: Branch, text: str, found: Names, operations: Sequence[str] | None) -> Iterable[Branch]:
    """Split a branch by what the text may be part of."""
    yield from (plain._replace(operation=operation) for operation in found.operations)
    no_operation = (tasks.c.operation.not_in(found.operations),) if found.operations else ()
    for worker in found.workers:
        if plain.worker in (None, worker):
            yield plain._replace(worker=worker, without=no_operation)
    for group, operation in found.groups.items():
        if operation not in found.operations and (operations is None or operation in operations):
            yield plain._replace(group=group, without=_no_worker(found))
    if len(text) >= ID_TOLD:
        without = (*no_operation, *_no_worker(found), *_none_of(tasks.c.failure_group, tuple(found.groups)))
        yield plain._replace(beginning=text.lower(), without=without)


def _of_group(plain: Branch, text: str, found: Names, grouped: str | None) -> Iterable[Branch]:
    """Split the tasks of one group of failures by what the text may be part of: not at all, where that is the group."""
    if grouped in found.operations or plain.group in found.groups:
        yield plain
        return
    yield from (plain._replace(worker=worker) for worker in found.workers if plain.worker in (None, worker))
    if len(text) >= ID_TOLD:
        yield plain._replace(beginning=text.lower(), without=_no_worker(found))


def _no_worker(found: Names) -> tuple[sa.ColumnElement[bool], ...]:
    return _none_of(tasks.c.worker, found.workers)


def _none_of(column: sa.ColumnElement[str | None], names: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (sa.or_(column.is_(None), column.not_in(names)),) if names else ()


def _of_operations(named: Iterable[Branch], operations: Sequence[str]) -> Iterable[Branch]:
    for branch in named:
        if branch.group is not None:
            yield branch  # of one of them
        elif branch.operation is None:
            yield from (branch._replace(operation=operation) for operation in operations)
        elif branch.operation in operations:
            yield branch


def _of_states(branch: Branch, states: Sequence[State], counts: Counts) -> Iterable[Branch]:
    """Split a branch by states, where its index has those next."""
    if branch.group is not None:  # only what has failed is in a group
        if not states or State.FAILED in states:
            yield branch
    elif branch.operation is not None or branch.worker is not None:
        for state in states or State:
            if branch.operation is None or counts.get((branch.operation, state)):
                yield branch._replace(state=state)
    elif states:
        yield from (branch._replace(state=state) for state in states)
    else:
        yield branch


def _conditions(branch: Branch) -> Iterable[sa.ColumnElement[bool]]:
    if branch.operation is not None:
        yield tasks.c.operation == branch.operation
    if branch.state is not None:
        yield tasks.c.state == branch.state.value
    if branch.worker is not None:
        yield tasks.c.worker == branch.worker
    if branch.group is not None:
        yield tasks.c.failure_group == branch.group
    if branch.beginning is not None:
        yield tasks.c.task_id >= branch.beginning
        yield tasks.c.task_id < f"{branch.beginning}\x7f"  # after every letter of an id


def _times(chosen: Filter) -> Iterable[sa.ColumnElement[bool]]:
    if chosen.submitted_from is not None:
        yield tasks.c.task_id >= first_id(chosen.submitted_from)
    if chosen.submitted_before is not None:
        yield tasks.c.task_id < first_id(chosen.submitted_before)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
