"""The tracker as a program, but for one moment, in which it kills or stops itself: `python -m … tracker`.

An order, in a file that the environment names, says which moment and which signal. It is carried out with the next
batch that tells of outcomes, and once only. Whose outcomes these are is written beside it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
import sqlalchemy as sa

from workbench.broker import Delivery
from workbench.cli import main
from workbench.core.messages import TaskFinished, decode
from workbench.tracker import service
from workbench.tracker.batch import Batch
from workbench.tracker.database import Database
from workbench.tracker.recording import Recorded

MODULE = "tests.faults.failing_tracker"
_VARIABLE = "FAILING_TRACKER"


class Moment(StrEnum):
    """When it fails."""

    BEFORE_COMMIT = "between the write and the commit"
    AFTER_COMMIT = "between the commit and the acknowledgement"


class Order(msgspec.Struct, frozen=True):
    """What it is to do to itself, and when."""

    moment: Moment
    signal: int


class Orders:
    """Where a test leaves an order, and finds what was done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._struck = path.with_suffix(".struck")

    @property
    def environ(self) -> dict[str, str]:
        """What the program needs to find it."""
        return {_VARIABLE: str(self._path)}

    def give(self, moment: Moment, number: signal.Signals) -> None:
        """Let the tracker fail, soon."""
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(Order(moment, number)))
        beside.replace(self._path)  # it is there as a whole

    def struck(self) -> list[str]:
        """Return the tasks of whose outcomes the batch told; empty until then."""
        return msgspec.json.decode(self._struck.read_bytes(), type=list[str]) if self._struck.exists() else []

    def take(self) -> Order | None:
        """Return the order, where there is one."""
        return msgspec.json.decode(self._path.read_bytes(), type=Order) if self._path.exists() else None

    def carry_out(self, order: Order, task_ids: Sequence[str]) -> None:
        """Fail here and now."""
        self._path.unlink()
        beside = self._struck.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(task_ids))
        beside.replace(self._struck)
        os.kill(os.getpid(), order.signal)


def _arm(orders: Orders) -> None:
    """Put the failure into the two seams: the event before a commit, and the return from one."""
    record = service.record
    amid: list[str] = []  # whose outcomes are being recorded: one thread writes

    def fail(moment: Moment) -> None:
        order = orders.take() if amid else None
        if order is not None and order.moment is moment:
            orders.carry_out(order, amid)

    def failing(database: Database, deliveries: Sequence[Delivery]) -> Recorded:
        facts = Batch((decode(delivery.body), delivery.body) for delivery in deliveries).facts
        amid[:] = [fact.task_id for fact, _ in facts if isinstance(fact, TaskFinished)]
        recorded = record(database, deliveries)
        fail(Moment.AFTER_COMMIT)
        amid.clear()
        return recorded

    service.record = failing
    sa.event.listen(sa.Engine, "commit", lambda _: fail(Moment.BEFORE_COMMIT))


if __name__ == "__main__":
    _arm(Orders(Path(os.environ[_VARIABLE])))
    main()
