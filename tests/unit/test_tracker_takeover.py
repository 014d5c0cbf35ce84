"""When a tracker waits for its database, and when it gives up."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from workbench.broker import Lock
from workbench.tracker import run
from workbench.tracker.database import Database, DatabaseUnavailable


class FakeLock:
    """Held from each `acquire` to `release`."""

    def __init__(self, *, waited: bool) -> None:
        self._waited = waited
        self.is_held = False
        self.acquired = 0

    async def acquire(self) -> bool:
        self.is_held = True
        self.acquired += 1
        return self._waited

    async def release(self) -> None:
        self.is_held = False


class LockedDatabase:
    """Locked for as many times as it is given."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.evicted = 0

    def evict(self) -> None:
        self.evicted += 1

    def open(self) -> None:
        if self.left:
            self.left -= 1
            raise DatabaseUnavailable("database is locked")


@pytest.mark.parametrize(("waited", "patient"), [(True, False), (False, True)])
def test_whoever_takes_over_waits_for_a_database_that_is_still_locked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, waited: bool, patient: bool
) -> None:
    monkeypatch.setattr(run, "TRY_AGAIN", 0.0)
    database = LockedDatabase(3)
    _take_over(database, waited=waited, patient=patient)
    assert database.left == 0
    assert database.evicted == 4
    assert caplog.text.count("the tracker can't take over yet: database is locked") == 1  # said once


def test_a_tracker_that_waited_for_nobody_ends_where_its_database_can_not_be_opened() -> None:
    database = LockedDatabase(1)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        _take_over(database, waited=False, patient=False)
    assert database.evicted == 0


def test_whoever_loses_the_lock_meanwhile_waits_for_it_before_anybody_is_evicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "TRY_AGAIN", 0.0)
    lock = FakeLock(waited=True)
    held: list[bool] = []

    class LosingDatabase(LockedDatabase):
        def evict(self) -> None:
            held.append(lock.is_held)

        def open(self) -> None:
            lock.is_held = self.left != 2  # with the connection
            super().open()

    asyncio.run(run._take_over(cast("Lock", lock), cast("Database", LosingDatabase(2)), patient=False))
    assert held == [True, True, True]
    assert lock.acquired == 2


def _take_over(database: LockedDatabase, *, waited: bool, patient: bool) -> None:
    lock = cast("Lock", FakeLock(waited=waited))
    asyncio.run(run._take_over(lock, cast("Database", database), patient=patient))
