"""`Books`: what producers and operations of the soak wrote down, and what the tracker has recorded."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from workbench.core import messages
from workbench.core.messages import Status, TaskFinished
from workbench.core.states import TaskRecord
from workbench.tracker.batch import decode_outcome, decode_record
from workbench.values import codecs
from workbench.values.files import Files


class Row(msgspec.Struct, frozen=True):
    """What the tracker's database has of one task."""

    record: TaskRecord
    number: int | None
    outcome: TaskFinished | None
    ends: tuple[tuple[int, str], ...]  # attempts and statuses of all executions that ended it


class Books:
    """What producers and operations wrote down, and what the tracker did."""

    def __init__(self, directory: Path, files: Files, producers: Iterable[str]) -> None:
        self._directory = directory
        self._files = files
        self.accepted: dict[str, int] = {}
        self.intended: list[tuple[int, int]] = []
        for name in producers:
            for line in (directory / f"{name}.accepted").read_text().splitlines():
                number, task_id = line.split()
                self.accepted[task_id] = int(number)
            for line in (directory / f"{name}.intended").read_text().splitlines():
                first, last = line.split()
                self.intended.append((int(first), int(last)))

    def states(self) -> Counter[str]:
        """Count the records by state."""
        with self._database() as database:
            return Counter(dict(database.execute("SELECT state, COUNT(*) FROM tasks GROUP BY state")))

    def rows(self) -> dict[str, Row]:
        """Return everything recorded, by task id."""
        ends: dict[str, list[tuple[int, str]]] = {}
        final = [status.value for status in Status if status is not Status.RETRY]
        with self._database() as database:
            # Those that never started are left out: what is cancelled or expires both a worker and the tracker may end.
            executed = "SELECT task_id, attempt, status FROM attempts WHERE started_at > 0"
            for task_id, attempt, status in database.execute(executed):
                if status in final:
                    ends.setdefault(task_id, []).append((attempt, status))
            columns = database.execute("SELECT task_id, record, task, outcome FROM tasks")
            return {
                task_id: Row(
                    decode_record(record),
                    None if task is None else self._number(task),
                    None if outcome is None else decode_outcome(outcome),
                    tuple(sorted(ends.get(task_id, []))),
                )
                for task_id, record, task, outcome in columns
            }

    def executions(self) -> Counter[int]:
        """Count what the operations of the soak noted, by number."""
        return Counter(map(int, (self._directory / "journal").read_text().split()))

    def is_intended(self, number: int) -> bool:
        """Return whether a producer was about to submit this number."""
        return any(first <= number <= last for first, last in self.intended)

    def _number(self, body: bytes) -> int:
        task = messages.decode_task(body)
        raws = {**dict(enumerate(task.args)), **task.kwargs}
        first = next(raws[name] for name in ("number", "image", "data", "source", 0) if name in raws)
        value = codecs.decode(first, self._files)
        return value if isinstance(value, int) else int(Path(value.name).stem)

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._directory / "tracker.sqlite", timeout=30)) as database:
            yield database
