from __future__ import annotations

from datetime import timedelta

from tests.dashboard_facts import BEGAN, Busy, changes, execution, health, worker
from tests.support import wait_until
from workbench.core.errors import BrokerUnavailable, TrackerUnavailable, WorkbenchError
from workbench.core.live import FORGET, Bucket, Counter, Mark, QueueFacts, bin_of
from workbench.core.rpc import Queues
from workbench.core.states import State
from workbench.dashboard import feed
from workbench.dashboard.model import KEPT, Model

NOW = BEGAN + timedelta(seconds=100)
SECOND = int(NOW.timestamp())


def model(*answers, queues=None) -> Model:
    built = Model()
    for told in answers:
        built.take(told, queues, address="here:5672")
    return built


def bucket(ago: int, family: str = "image", lane: str = "", **told) -> Bucket:
    return Bucket(SECOND - ago, family, lane, **told)


def test_states_are_the_trackers_exact_totals() -> None:
    states = dict.fromkeys(State, 0) | {State.QUEUED: 3, State.FAILED: 2}
    picture = model(changes(NOW, states=states)).picture
    assert picture.states["queued"] == 3
    assert picture.recorded == 5


def test_what_is_told_again_replaces_what_was_told() -> None:
    picture = model(
        changes(NOW, buckets=(bucket(2, submitted=5, succeeded=1), bucket(2, lane="high", submitted=1))),
        changes(NOW, buckets=(bucket(2, submitted=7, succeeded=3),)),
    ).picture
    (second,) = picture.seconds("image", 60)
    assert (second.submitted, second.ended) == (8, 3)


def test_the_second_that_isnt_over_counts_neither_in_rates_nor_in_lines() -> None:
    picture = model(changes(NOW, buckets=(bucket(0, submitted=1000), bucket(1, submitted=20)))).picture
    assert picture.rates.submitted == 20
    assert max(picture.lines(None, 60, 60).submitted) == 20


def test_everything_is_forgotten_where_another_tracker_answers() -> None:
    built = model(
        changes(
            NOW,
            buckets=(bucket(2, submitted=5),),
            workers=(worker("w1"),),
            executions=(execution(1, 90.0, None),),
            counters=(Counter("image.resize", State.QUEUED, 5),),
        ),
        changes(NOW, anew=True, mark=Mark("another", 1, 1)),
    )
    picture = built.picture
    assert picture.workers == picture.running == picture.operations == ()
    assert picture.seconds(None, 600) == []
    assert picture.life == 1
    assert built.mark == Mark("another", 1, 1)


def test_buckets_are_kept_for_an_hour() -> None:
    built = model(changes(NOW, buckets=(bucket(10, submitted=5),)))
    built.take(changes(NOW + timedelta(seconds=KEPT)), None, address="")
    assert built.picture.families["image"] == {}


def test_latencies_of_families_and_lanes_are_merged() -> None:
    slow, fast = bin_of(10.0), bin_of(0.01)
    picture = model(
        changes(NOW, buckets=(bucket(2, waiting={fast: 98}), bucket(3, "data", waiting={slow: 2}, running={fast: 1})))
    ).picture
    assert picture.lately.waiting is not None
    half, _, most = picture.lately.waiting
    assert 0.008 < half < 0.012
    assert 8.0 < most < 12.0
    assert picture.lately.running is not None


def test_a_running_attempt_is_shown_until_it_ends_and_then_as_a_block() -> None:
    built = model(changes(NOW, executions=(execution(1, 95.0, None),)))
    (running,) = built.picture.running
    assert running.end - running.start == 5.0
    built.take(changes(NOW, executions=(execution(2, 95.0, 4.0, task_id="task-1"),)), None, address="")
    assert built.picture.running == ()
    assert [block.task_id for block in built.picture.blocks.since(0)] == ["task-1"]


def test_workers_that_were_lost_stay() -> None:
    built = model(changes(NOW, workers=(worker("w1"), worker("w2"))))
    built.take(changes(NOW, workers=(worker("w2", online=False, lost=True),)), None, address="")
    assert [(each.worker, each.lost) for each in built.picture.workers] == [("w1", False), ("w2", True)]


def test_workers_of_yesterday_are_forgotten_as_the_tracker_does() -> None:
    built = model(changes(NOW, workers=(worker("w1", NOW), worker("w2", NOW))))
    tomorrow = NOW + timedelta(seconds=FORGET + 1)
    built.take(changes(tomorrow, workers=(worker("w2", tomorrow),)), None, address="")
    assert [each.worker for each in built.picture.workers] == ["w2"]


def test_nothing_runs_for_ever_whose_end_was_left_out() -> None:
    built = model(changes(NOW, executions=(execution(1, 95.0, None), execution(2, 95.0, None))))
    again = execution(2, 95.0, None)
    built.take(changes(NOW, executions=(execution(900, 99.0, 0.5), again), skipped=800), None, address="")
    assert [block.task_id for block in built.picture.running] == ["task-2"]


def test_what_nobody_told_is_counted_for_the_minute_that_is_shown() -> None:
    lost = (execution(900, 99.0, 0.5),)
    built = model(changes(NOW, executions=lost, skipped=800))
    for seconds, more, shown in ((1, 0, 800), (2, 30, 830), (60, 0, 30), (62, 0, 0)):
        later = NOW + timedelta(seconds=seconds)
        built.take(changes(later, skipped=more), None, address="")
        assert built.picture.skipped == shown


def test_what_nobody_told_and_is_older_than_what_is_shown_isnt_counted() -> None:
    old, new = execution(900, 30.0, 0.5), execution(901, 99.0, 0.5)
    assert model(changes(NOW, anew=True, executions=(old, new), skipped=45_000)).picture.skipped == 0
    assert model(changes(NOW, anew=True, executions=(new,), skipped=45_000)).picture.skipped == 45_000


def test_failures_are_those_that_werent_discarded() -> None:
    states = dict.fromkeys(State, 0) | {State.FAILED: 5}
    assert model(changes(NOW, states=states, failures=2)).picture.failures == 2


def test_time_goes_on_where_nothing_is_told() -> None:
    built = model(changes(NOW))
    assert built.picture.now == built.picture.at == NOW
    built.miss(TrackerUnavailable("nobody"), address="", silence=12.0)
    assert (built.picture.now, built.picture.at) == (NOW + timedelta(seconds=12), NOW)


def test_a_feed_asks_again_at_once_while_there_is_more_than_an_answer_holds(monkeypatch) -> None:
    answers = [changes(NOW, mark=Mark("life", 1, 3 - left), left=left, failures=left) for left in (3, 2, 1, 0)]
    marks = []

    class Live:
        async def changes(self, mark, *, seconds):
            marks.append(mark)
            return answers[len(marks) - 1]

        async def queues(self):
            return Queues(queues=(), at=NOW)

    class Client:
        live = Live()

        def close(self) -> None:
            pass

    async def connected(self):
        self._client = Client()
        return self._client

    monkeypatch.setattr(feed, "EVERY", 1000.0)
    monkeypatch.setattr(feed.Feed, "_connected", connected)
    room = feed.Feed()
    try:
        wait_until(lambda: room.picture.serial == len(answers))
    finally:
        room._closed.set()
    assert [mark and mark.index for mark in marks] == [None, 0, 1, 2]


def test_dead_letters_are_counted_from_the_queues_and_stay_where_none_were_asked_for() -> None:
    queues = Queues(queues=(QueueFacts(queue="dead", kind="dead", ready=4),), at=NOW)
    built = model(changes(NOW), queues=queues)
    built.take(changes(NOW), None, address="")
    assert built.picture.dead == 4


def test_health_says_what_is_wrong_and_what_to_expect() -> None:
    assert model(changes(NOW)).picture.health.kind == "good"
    blocked = model(changes(NOW, health=health(NOW, blocked="low on disk"))).picture
    assert (blocked.health.kind, "low on disk" in blocked.health.sentence) == ("bad", True)
    behind = model(changes(NOW, health=health(NOW, lag=42.0, pending=10_000))).picture
    assert (behind.health.kind, "42 s old" in behind.health.sentence) == ("warn", True)
    assert model(changes(NOW, health=health(NOW, lag=42.0, pending=0))).picture.health.kind == "good"


def test_what_was_known_stays_where_nothing_is_told_and_its_age_is_said() -> None:
    built = model(changes(NOW, workers=(worker("w1"),)))
    for error, word in (
        (TrackerUnavailable("nobody"), "no tracker"),
        (BrokerUnavailable("gone"), "no broker"),
        (WorkbenchError("odd"), "WorkbenchError"),
    ):
        before = built.picture.serial
        built.miss(error, address="here:5672")
        picture = built.picture
        assert (picture.health.word, picture.serial, len(picture.workers)) == (word, before + 1, 1)
        assert f"{NOW:%H:%M:%S}" in picture.health.sentence


def test_lines_are_made_once_for_all_pages() -> None:
    picture = model(changes(NOW, buckets=(bucket(2, submitted=5),))).picture
    assert picture.lines("image", 300, 300) is picture.lines("image", 300, 300)


def test_two_thousand_tasks_a_second_cost_the_model_a_fraction_of_a_second() -> None:
    import time

    busy, built = Busy(rate=2000), Model()
    answers = [busy.next(NOW + timedelta(seconds=number), number == 0) for number in range(10)]
    began = time.process_time()
    for told in answers:
        built.take(told, None, address="")
    assert (time.process_time() - began) / len(answers) < 0.15
    assert built.picture.rates.ended > 10_000
