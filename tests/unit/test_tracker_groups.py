"""Groups of failures as they are kept up with the records, beside those that the database counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tracker_facts import IDS, accepted, at, finished
from workbench.core.messages import CancelRequested, Event, Failure, Status, Task, encode
from workbench.tracker.database import Database
from workbench.tracker.groups import Group, Groups, Joined, Moves
from workbench.tracker.recording import record


def failed(task_id: str = IDS[0], kind: str = "KeyError", *, seconds: float = 3, **more: Any) -> Event:
    failure = Failure(type=kind, message=f"of {task_id}")
    return finished(task_id, status=Status.FAILED, failure=failure, finished_at=at(seconds), **more)


def wish(task_id: str = IDS[0]) -> CancelRequested:
    return CancelRequested(task_id=task_id, at=at(9))


class Desk:
    """Groups beside the database that they follow."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.groups = Groups()

    def learn(self, *messages: Task | Event) -> None:
        self.groups.learn(self.database.apply([(each, encode(each)) for each in messages], now=at(20)).moves)

    def dismiss(self, kind: str, most: int = 10) -> int:
        names = [each.group for each in self.database.told_groups(self.groups.newest(10)) if each.type == kind]
        ids = [task_id for name in names for task_id in self.database.dismiss(name, most=most)]
        self.groups.learn(Moves(names * len(ids), []))
        return len(ids)

    def shown(self) -> dict[str, Group]:
        worn = list(self.groups.worn)
        self.groups.recount(self.database.counted_groups(worn), worn)
        return dict(self.groups.newest(10))


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    path = f"sqlite:///{tmp_path}/t.db"
    desk = Desk(path if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    with desk.database:
        yield desk


STEPS: list[Task | Event | str] = [
    *(
        fact
        for number, task_id in enumerate(IDS[:3])
        for fact in (
            accepted(task_id),
            failed(task_id, seconds=3 + number),
            wish(task_id),
            accepted(task_id, attempt=2, replay=1),
            failed(task_id, attempt=2, replay=1, seconds=9 - number),
            finished(task_id, attempt=3, replay=2, finished_at=at(12)),
        )
    ),
    failed(IDS[3], "OSError", seconds=7),
    "KeyError",  # dismissed
]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(STEPS), min_size=1, max_size=8), min_size=1, max_size=5))
def test_groups_are_those_of_the_database_whatever_comes_in_and_is_dismissed(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Task | Event | str]]
) -> None:
    desk = Desk(f"sqlite:///{tmp_path_factory.mktemp('desk') / 't.db'}")
    with desk.database:
        for batch in batches + batches:
            desk.learn(*[each for each in batch if not isinstance(each, str)])
            for kind in batch:
                if isinstance(kind, str):
                    desk.dismiss(kind, most=2)
            counted = desk.database.counted_groups()
            assert desk.groups.total == sum(group.size for group in counted.values())
            assert len(desk.groups) == len(counted)
        assert desk.shown() == desk.database.counted_groups()


def test_a_dismissed_failure_stays_away_whatever_is_heard_of_its_task_until_it_fails_anew(desk: Desk) -> None:
    desk.learn(accepted(), failed())
    assert desk.dismiss("KeyError") == 1
    desk.learn(wish())
    desk.learn(accepted(attempt=2), failed(), wish())
    assert (desk.groups.total, desk.database.counted_groups()) == (0, {})
    desk.learn(accepted(attempt=3, replay=1), failed(attempt=3, replay=1, seconds=30))
    assert desk.groups.total == 1
    assert desk.shown() == desk.database.counted_groups()


def test_a_dismissed_failure_that_is_sent_again_leaves_no_group(desk: Desk) -> None:
    desk.learn(failed(), failed(IDS[1]))
    assert desk.dismiss("KeyError", most=1) == 1
    desk.learn(accepted(attempt=2, replay=1))
    desk.learn(accepted(IDS[1], attempt=2, replay=1))
    assert desk.groups.total == 0


def test_failures_that_are_recorded_ask_for_no_counting_and_those_that_go_for_that_of_their_group() -> None:
    groups = Groups()
    groups.learn(Moves([], [Joined(name, task_id, at(3)) for name in ("a", "b") for task_id in IDS[:3]]))
    groups.learn(Moves([], [Joined("a", IDS[3], at(1))]))
    assert (groups.newest(1), groups.worn) == ([("a", Group(4, at(1), at(3), IDS[3]))], set())
    groups.learn(Moves(["b"], []))
    assert groups.worn == {"b"}
    groups.learn(Moves(["b", "b"], []))
    assert (groups.worn, len(groups), groups.total) == (set(), 1, 4)
    groups.learn(Moves(["b"], []))  # another tracker wrote meanwhile: counted again in a moment
    assert groups.total == 4


def test_a_batch_that_is_recorded_in_halves_moves_tasks_in_order(tmp_path: Path, monkeypatch: Any) -> None:
    class Delivery:
        def __init__(self, message: Task | Event) -> None:
            self.body = encode(message)

    groups = Groups()
    with Database(f"sqlite:///{tmp_path}/t.db") as database:
        apply = database.apply

        def narrow(received: Any, **more: Any) -> Any:
            if len(received) > 1:
                raise ValueError("one of them")
            return apply(received, **more)

        monkeypatch.setattr(database, "apply", narrow)
        messages = (failed(), accepted(attempt=2, replay=1))
        recorded = record(database, [Delivery(message) for message in messages])  # type: ignore[misc]
    for moves in recorded.moves:
        groups.learn(moves)
    assert groups.total == 0
