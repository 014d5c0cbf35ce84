from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tracker_facts import IDS, T0, accepted, at, finished, online, started
from workbench.core import live
from workbench.core.live import Bucket, Execution, Mark
from workbench.core.messages import (
    Event,
    Failure,
    Status,
    Task,
    TaskLost,
    TasksStarted,
    WorkerHeartbeat,
    WorkerOffline,
    encode,
)
from workbench.core.states import State
from workbench.tracker import executions
from workbench.tracker.aggregates import Aggregates, News
from workbench.tracker.database import Database
from workbench.tracker.lookback import look_back

NO = Failure(type="ValueError", message="no")
RETRY = {"status": Status.RETRY, "failure": NO, "retry_at": at(9)}


class Desk:
    """Aggregates beside the database that they follow."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path / 't.db'}")
        self.aggregates = Aggregates("life-1")
        self.now = at(20)
        self.mark = Mark()

    def learn(self, *messages: Task | Event) -> None:
        applied = self.database.apply([(message, encode(message)) for message in messages], now=self.now)
        self.aggregates.learn(applied.transitions, self.now)
        self.aggregates.meet(applied.workers, self.now)

    def news(self, mark: Mark | None = None, *, seconds: int = 3600, most: int = 1000) -> News:
        news = self.aggregates.since(mark or self.mark, self.now, seconds=seconds, most=most)
        self.mark = news.mark
        return news

    def told(self) -> list[tuple[str, int, str]]:
        return [(each.task_id, each.attempt, each.status) for each in self.news().executions]


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    desk = Desk(tmp_path)
    with desk.database:
        yield desk


def bucket(desk: Desk, second: float) -> Bucket:
    (found,) = [each for each in desk.news(Mark()).buckets if each.second == int(at(second).timestamp())]
    return found


FACTS: list[Task | Event] = [
    fact
    for task_id in IDS[:3]
    for fact in (
        accepted(task_id),
        accepted(task_id, attempt=2),
        accepted(task_id, attempt=3, replay=1),
        TasksStarted(starts=(started(task_id), started(task_id, attempt=2, seconds=4))),
        started(task_id, worker="w2", seconds=3),
        TaskLost(task_id=task_id, attempt=1, worker="w1", since=at(2), at=at(10)),
        finished(task_id, **RETRY),
        finished(task_id, attempt=2, status=Status.FAILED, failure=NO, started_at=at(4), finished_at=at(5)),
        finished(task_id, attempt=3, replay=1, started_at=at(6), finished_at=at(7)),
    )
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.sampled_from(FACTS), min_size=1, max_size=12), min_size=1, max_size=4))
def test_counters_are_those_of_the_database_whatever_comes_in_which_order_and_how_often(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Task | Event]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    with desk.database:
        for batch in batches + batches:
            desk.learn(*batch)
        assert desk.aggregates.counts() == desk.database.counts_by_operation()
        assert desk.aggregates.states() == desk.database.counts()
        running = {each.task_id for each in desk.aggregates.executions.running()}
        here = {record.task_id for record in desk.database.newest(state=State.RUNNING, limit=100)}
        assert running == here


def test_a_repeated_batch_is_counted_once(desk: Desk) -> None:
    batch = [accepted(), started(), finished()]
    desk.learn(*batch)
    first = desk.news(Mark())
    desk.learn(*batch)
    again = desk.news(Mark())
    assert (again.buckets, again.executions, again.counters) == (first.buckets, first.executions, first.counters)


def test_a_bucket_tells_what_happened_in_its_second(desk: Desk) -> None:
    desk.learn(accepted(), started(), finished())
    assert bucket(desk, 0).submitted == 1
    assert bucket(desk, 1).arrived == 1
    begun, ended = bucket(desk, 2), bucket(desk, 3)
    assert (begun.family, begun.lane, begun.started, ended.succeeded, ended.finished) == ("image", "", 1, 1, 1)
    assert live.quantile(begun.waiting, 0.5) == pytest.approx(1.0, rel=0.19)
    assert live.quantile(ended.running, 0.5) == pytest.approx(1.0, rel=0.19)


def test_retries_and_replays_arrive_anew_and_are_submitted_once(desk: Desk) -> None:
    desk.learn(accepted(), finished(**RETRY))
    desk.learn(accepted(attempt=2), finished(attempt=2, status=Status.FAILED, failure=NO, finished_at=at(5)))
    desk.learn(accepted(attempt=3, replay=1))
    buckets = desk.news(Mark()).buckets
    sums = Counter({name: sum(getattr(each, name) for each in buckets) for name in ("submitted", "arrived", "failed")})
    assert sums == {"submitted": 1, "arrived": 3, "failed": 1}
    assert bucket(desk, 3).retried == 1


def test_what_is_older_than_an_hour_is_left_out_and_what_is_ahead_counts_as_now(desk: Desk) -> None:
    desk.now = at(4000)
    desk.learn(accepted(), finished(finished_at=at(5000)))
    buckets = desk.news(Mark()).buckets
    assert [(each.second, each.submitted, each.succeeded) for each in buckets] == [(int(at(4000).timestamp()), 0, 1)]


def test_buckets_go_after_an_hour(desk: Desk) -> None:
    desk.learn(accepted())
    desk.now = at(3700)
    desk.learn(accepted(IDS[1], attempt=2))
    desk.now = at(3800)
    seconds = {key[0] for key in desk.aggregates.tallies._tallies}
    desk.learn(finished(IDS[2], started_at=at(3750), finished_at=at(3790)))
    left = {key[0] for key in desk.aggregates.tallies._tallies}
    assert left <= {int(at(3750).timestamp()), int(at(3790).timestamp())}
    assert left.isdisjoint(seconds)


def test_a_view_is_told_only_what_has_changed(desk: Desk) -> None:
    desk.learn(accepted(), started(), online())
    first = desk.news()
    assert first.anew
    assert [(counter.operation, counter.state, counter.count) for counter in first.counters] == [
        ("image.thumbnail", State.RUNNING, 1)
    ]
    nothing = desk.news()
    assert not nothing.anew
    assert (nothing.counters, nothing.buckets, nothing.executions, nothing.workers) == ((), (), (), ())
    desk.learn(finished())
    news = desk.news()
    assert {(counter.state, counter.count) for counter in news.counters} == {
        (State.RUNNING, 0),
        (State.SUCCEEDED, 1),
    }
    assert [each.second for each in news.buckets] == [int(at(3).timestamp())]
    assert [each.status for each in news.executions] == ["succeeded"]
    assert not news.workers


def test_a_mark_of_another_life_begins_anew(desk: Desk) -> None:
    desk.learn(accepted())
    assert desk.news(Mark("life-0", 10**6, 10**6)).anew
    assert desk.news().buckets == ()


def test_an_attempt_is_told_at_its_start_and_at_its_end_by_one_key(desk: Desk) -> None:
    desk.learn(accepted(), started())
    (begun,) = desk.news().executions
    desk.learn(finished(status=Status.FAILED, failure=NO, slot=0))
    (ended,) = desk.news().executions
    assert (begun.status, begun.finished_at, ended.status, ended.finished_at) == ("running", None, "failed", at(3))
    assert begun.key == ended.key
    assert (ended.worker, ended.slot, ended.failure, ended.index) == ("w1", 0, "ValueError", begun.index + 1)


def test_an_attempt_that_ended_before_its_start_was_told_is_told_once(desk: Desk) -> None:
    desk.learn(accepted(), finished(), started())
    assert desk.told() == [(IDS[0], 1, "succeeded")]


def test_each_attempt_of_a_task_is_told(desk: Desk) -> None:
    desk.learn(accepted(), finished(**RETRY), accepted(attempt=2))
    desk.learn(finished(attempt=2, started_at=at(4), finished_at=at(5)))
    assert desk.told() == [(IDS[0], 1, "retry"), (IDS[0], 2, "succeeded")]


def test_an_attempt_is_lost_with_its_worker_and_another_takes_its_place(desk: Desk) -> None:
    desk.learn(accepted(), started())
    desk.learn(TaskLost(task_id=IDS[0], attempt=1, worker="w1", since=at(2), at=at(10)))
    assert desk.told() == [(IDS[0], 1, "lost")]
    desk.learn(started(worker="w2", seconds=12))
    desk.learn(started(worker="w3", seconds=14))  # w2 was lost as well, and nobody has said so
    assert [(each.worker, each.status) for each in desk.news().executions] == [("w2", "lost"), ("w3", "running")]


def test_what_was_left_out_is_counted_and_what_runs_is_told_however_old(desk: Desk) -> None:
    desk.learn(accepted(IDS[10]), started(IDS[10]))
    desk.learn(*[finished(task_id) for task_id in IDS[:5]])
    news = desk.news(Mark(), most=2)
    assert [(each.task_id, each.status) for each in news.executions] == [
        (IDS[10], "running"),
        (IDS[3], "succeeded"),
        (IDS[4], "succeeded"),
    ]
    assert news.skipped == 4


def test_where_ends_are_forgotten_what_runs_is_told_once_more(desk: Desk) -> None:
    desk.aggregates.executions = executions.Executions(kept=3)
    desk.learn(accepted(IDS[10]), started(IDS[10]), accepted(IDS[11]), started(IDS[11]))
    assert len(desk.news().executions) == 2
    desk.learn(finished(IDS[11]), *[finished(task_id) for task_id in IDS[:5]])
    news = desk.news(most=2)
    assert (news.skipped, news.left) == (3, 1)
    assert [(each.task_id, each.status) for each in news.executions] == [
        (IDS[10], "running"),
        (IDS[2], "succeeded"),
        (IDS[3], "succeeded"),
    ]
    desk.learn(finished(IDS[5]))
    news = desk.news(most=2)
    assert ([each.task_id for each in news.executions], news.skipped, news.left) == (IDS[4:6], 0, 0)


def test_a_view_that_asks_on_misses_nothing_of_what_one_answer_doesnt_hold(desk: Desk) -> None:
    desk.news()
    desk.learn(*[finished(task_id) for task_id in IDS[:7]])
    told, left = [], []
    while not left or left[-1]:
        news = desk.news(most=3)
        told += [each.task_id for each in news.executions]
        left.append(news.left)
        assert (news.anew, news.skipped) == (False, 0)
    assert (told, left) == (IDS[:7], [4, 1, 0])


def test_a_ring_forgets_the_oldest() -> None:
    ring = executions.Executions(kept=2)
    from workbench.core.states import fold

    for task_id in IDS[:3]:
        ring.add(None, fold(None, finished(task_id)), T0)
    told = ring.since(0, 10)
    assert ([each.task_id for each in told.executions], told.skipped) == (IDS[1:3], 1)
    assert ring.since(ring.index, 10) == ([], ring.index, 0)


def test_a_silent_worker_is_lost_once_and_comes_back(desk: Desk) -> None:
    desk.learn(online(), WorkerHeartbeat(worker="w1", busy=1, cpu=1.5, draining=True, at=at(5)))
    (known,) = desk.news().workers
    assert (known.online, known.lost, known.cpu, known.draining) == (True, False, 1.5, True)
    desk.now += timedelta(seconds=16)
    (lost,) = desk.news().workers
    assert (lost.online, lost.lost) == (False, True)
    assert desk.news().workers == ()
    desk.learn(WorkerHeartbeat(worker="w1", busy=0, at=at(40)))
    assert [(each.online, each.lost) for each in desk.news().workers] == [(True, False)]
    desk.learn(WorkerOffline(worker="w1", at=at(41)))
    desk.now += timedelta(seconds=16)
    assert [(each.online, each.lost) for each in desk.news().workers] == [(False, False)]
    desk.now += timedelta(days=2)
    assert desk.aggregates.workers(desk.now) == []


def test_a_tracker_that_starts_again_knows_what_the_last_one_did(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.learn(online(), accepted(), finished(), accepted(IDS[1]), started(IDS[1]), accepted(IDS[2]))
    desk.learn(finished(IDS[3], status=Status.FAILED, failure=NO))
    monkeypatch.setattr("workbench.tracker.lookback.utcnow", lambda: desk.now)
    again = Aggregates("life-2")
    look_back(again, desk.database)
    before, after = desk.news(Mark()), again.since(Mark(), desk.now, seconds=3600, most=1000)
    assert again.states() == desk.aggregates.states()
    assert sorted(before.counters, key=repr) == sorted(after.counters, key=repr)
    assert before.workers == after.workers

    def keys(found: tuple[Execution, ...]) -> set[Any]:
        return {(each.key, each.status) for each in found}

    assert keys(before.executions) == keys(after.executions)
    assert sum(each.finished for each in after.buckets) == 2


def test_a_second_count_mends_what_another_tracker_wrote(desk: Desk) -> None:
    desk.learn(accepted())
    desk.news()
    desk.database.apply([(finished(), encode(finished()))], now=desk.now)  # by another one
    desk.aggregates.recount(desk.database.counts_by_operation())
    assert {(each.state, each.count) for each in desk.news().counters} == {(State.QUEUED, 0), (State.SUCCEEDED, 1)}


@given(st.lists(st.floats(1e-5, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_a_bin_of_the_true_one(durations: list[float], share: float) -> None:
    halves = [Counter(map(live.bin_of, half)) for half in (durations[::2], durations[1::2])]
    told = live.quantile(live.merged(halves), share)
    ordered = sorted(durations)
    exact = ordered[min(len(ordered) - 1, max(0, -int(-(share * len(ordered)) // 1) - 1))]
    assert told is not None
    assert told == pytest.approx(max(exact, live.SHORTEST), rel=0.2)


def test_no_durations_have_no_quantile() -> None:
    assert live.quantile({}, 0.5) is None
