"""`Groups`: how many tasks have failed alike, and when, kept up with the records: none is counted to be shown. No I/O.

A task that fails joins its group, one that is sent again or dismissed leaves it. Numbers are exact at any time; what
only all the tasks of a group tell, once some have left it, is to be counted anew before it's shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple


class Group(NamedTuple):
    """The tasks of one group."""

    size: int
    first_at: datetime
    last_at: datetime
    latest: str  # the id of the newest


class Joined(NamedTuple):
    """A task that has failed, and when."""

    group: str
    task_id: str
    at: datetime


class Moves(NamedTuple):
    """How groups have changed: first the ids of those that were left, one for each task, then who has joined one."""

    left: list[str]
    joined: list[Joined]


class Groups:
    """All groups of failed tasks, by id, without those that were dismissed."""

    def __init__(self) -> None:
        self.worn: set[str] = set()
        """Groups that some have left: their times, and their newest task, may be those of who is gone."""
        self._groups: dict[str, Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def total(self) -> int:
        """How many tasks there are in all groups."""
        return sum(group.size for group in self._groups.values())

    def recount(self, counted: Mapping[str, Group], which: Iterable[str] | None = None) -> None:
        """Take these for the groups, or for those `which` were counted, as the database counts them."""
        for name in list(self._groups if which is None else which):
            self._groups.pop(name, None)
            self.worn.discard(name)
        self._groups.update(counted)

    def learn(self, moves: Moves) -> None:
        """Learn how the groups have changed."""
        for name in moves.left:
            group = self._groups.pop(name, None)
            self.worn.discard(name)
            if group is not None and group.size > 1:
                self._groups[name] = group._replace(size=group.size - 1)
                self.worn.add(name)
        for name, task_id, at in moves.joined:
            group = self._groups.get(name) or Group(0, at, at, task_id)
            self._groups[name] = Group(
                group.size + 1, min(group.first_at, at), max(group.last_at, at), max(group.latest, task_id)
            )

    def newest(self, most: int) -> list[tuple[str, Group]]:
        """Return the groups with the latest failures, the latest first."""
        return heapq.nlargest(most, self._groups.items(), key=lambda item: item[1].last_at)
