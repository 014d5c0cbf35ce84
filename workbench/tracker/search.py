"""Searching among a million tasks: each search is a few branches, and each branch one walk along one index.

No task is in two branches, so that their counts add up. A branch names the columns its index begins with, in SQL that
has `task_id` next, and so the newest come first without sorting.
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
    without: tuple[sa.ColumnElement[bool], ...] = ()  # what other branches have


class Names(NamedTuple):
    """What a text is part of."""

    operations: tuple[str, ...]
    workers: tuple[str, ...]
    groups: tuple[str, ...]


def names(connection: sa.Connection, text: str, counts: Counts) -> Names:
    """Look for a text in the names of operations, workers and failures."""
    part = text.lower()
    pattern = f"%{_escaped(part)}%"

    def like(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        return sa.func.lower(column).like(pattern, escape="\\")

    kinds = sa.or_(like(failure_groups.c.type), like(failure_groups.c.frame))
    return Names(
        tuple(sorted({operation for operation, _ in counts if operation and part in operation.lower()})),
        tuple(connection.scalars(sa.select(workers.c.worker).where(like(workers.c.worker)).limit(MOST_NAMES))),
        tuple(connection.scalars(sa.select(failure_groups.c.group_id).where(kinds).limit(MOST_NAMES))),
    )


def branches(chosen: Filter, counts: Counts, found: Names | None) -> list[Branch]:
    """Return the branches of a search.

    Parameters
    ----------
    chosen
        What is searched for.
    counts
        How many there are: branches without any are left out.
    found
        What the filter's text is part of, where it has one.
    """
    operations = _operations(chosen.operation, counts)
    plain = [Branch(worker=chosen.worker, group=chosen.group)]
    if found is not None:
        plain = list(_of_text(plain[0], chosen.text, found))
    with_operations = plain if operations is None else list(_of_operations(plain, operations))
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
    """Return the ids of the newest tasks of these branches that are older than `before`, the newest first."""
    found = []
    for branch in wanted:
        conditions = [*_conditions(branch), *_times(chosen)]
        if before is not None:
            conditions.append(tasks.c.task_id < before)
        query = sa.select(tasks.c.task_id).where(*conditions).order_by(tasks.c.task_id.desc()).limit(limit)
        found.append(connection.scalars(query).all())
    return list(itertools.islice(heapq.merge(*found, reverse=True), limit))


def count(connection: sa.Connection, chosen: Filter, wanted: Sequence[Branch], most: int) -> int:
    """Count the tasks of these branches, up to `most`."""
    counted = 0
    for branch in wanted:
        these = sa.select(sa.literal(1)).where(*_conditions(branch), *_times(chosen)).limit(most - counted)
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


def _of_text(plain: Branch, text: str, found: Names) -> Iterable[Branch]:
    """Split a branch by what the text may be part of: each without what came before it."""
    no_operation = tasks.c.operation.not_in(found.operations)
    no_worker = sa.or_(tasks.c.worker.is_(None), tasks.c.worker.not_in(found.workers))
    no_group = sa.or_(tasks.c.failure_group.is_(None), tasks.c.failure_group.not_in(found.groups))
    yield from (plain._replace(operation=operation) for operation in found.operations)
    for worker in found.workers:
        if plain.worker in (None, worker):
            yield plain._replace(worker=worker, without=(no_operation,))
    for group in found.groups:
        if plain.group in (None, group):
            yield plain._replace(group=group, without=(no_operation, no_worker))
    if len(text) >= ID_TOLD:
        yield plain._replace(beginning=text.lower(), without=(no_operation, no_worker, no_group))


def _of_operations(plain: Iterable[Branch], operations: Sequence[str]) -> Iterable[Branch]:
    for branch in plain:
        if branch.operation is None:
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
    yield from branch.without


def _times(chosen: Filter) -> Iterable[sa.ColumnElement[bool]]:
    if chosen.submitted_from is not None:
        yield tasks.c.task_id >= first_id(chosen.submitted_from)
    if chosen.submitted_before is not None:
        yield tasks.c.task_id < first_id(chosen.submitted_before)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
