"""What a method that takes "a task or several" was given: the ids meant by it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from workbench.core.errors import TaskNotFound

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class HasId(Protocol):
    """A handle: what it stands for has this id."""

    @property
    def id(self) -> str:
        """The task's id."""


class HasTaskId(Protocol):
    """A record, an outcome or a dead letter."""

    @property
    def task_id(self) -> str:
        """The task's id."""


One = str | HasId | HasTaskId
Targets = One | Iterable[One]


def ids_of(targets: Targets) -> list[str]:
    """Return the ids of a task or of several, each once, in order.

    Raises
    ------
    TypeError
        If something among them is neither an id nor has one.
    """
    if is_one(targets):
        return [_id_of(targets)]
    assert isinstance(targets, Iterable)
    return list(dict.fromkeys(_id_of(each) for each in targets))


def is_one(targets: Targets) -> bool:
    """Whether one task is meant rather than a collection of them."""
    if isinstance(targets, str) or hasattr(targets, "task_id") or hasattr(targets, "id"):
        return True
    if isinstance(targets, Iterable):
        return False
    raise TypeError(f"takes a task id, a handle, or several of them, got {type(targets).__name__}")


def check_ids(task_ids: Iterable[str]) -> None:
    """Raise `TaskNotFound` where one can't be the id of any task."""
    for task_id in task_ids:
        if not _ID.fullmatch(task_id):
            raise TaskNotFound(f"there is no task {task_id!r}: that isn't an id of a task")


def _id_of(one: object) -> str:
    found = one if isinstance(one, str) else getattr(one, "id", None) or getattr(one, "task_id", None)
    if not isinstance(found, str):
        raise TypeError(f"takes task ids or handles, got {type(one).__name__}")
    return found
