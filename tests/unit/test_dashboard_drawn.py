"""What views draw of what is known: without a page, and without a client."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.dashboard_facts import BEGAN, changes, worker
from workbench.core.errors import TrackerUnavailable
from workbench.core.live import Bucket, QueueFacts

pytest.importorskip("panel")

from workbench.dashboard.figures import Window
from workbench.dashboard.model import Model
from workbench.dashboard.views import queues
from workbench.dashboard.views.overview import still


@pytest.mark.parametrize(
    ("arriving", "leaving", "drained", "words"),
    [(0.0, 0.0, None, "waiting"), (2.0, 2.0, None, "waiting"), (2.0, 1.0, None, "growing"),
     (1.0, 2.0, 5.0, "getting shorter")],
)  # fmt: skip
def test_a_queue_is_said_to_be_what_its_rates_say(arriving: float, leaving: float, drained: Any, words: str) -> None:
    facts = QueueFacts(queue="tasks.text", kind="tasks", ready=5, consumers=1, arriving=arriving, leaving=leaving,
                       drained_in=drained)  # fmt: skip
    assert queues._condition(facts)[1] == words


def test_the_broker_is_not_called_well_before_anybody_has_said_so() -> None:
    model = Model()
    assert "not known yet" in still(model.picture)
    assert "no alarm" not in still(model.picture)
    model.take(changes(workers=(worker("w1"),)), None, address="here")
    assert "no alarm" in still(model.picture)
    model.miss(TrackerUnavailable("nobody is there."), address="here")
    assert "not known now" in still(model.picture)
    assert "no alarm" not in still(model.picture)
    model.take(changes(), None, address="here")
    assert "no alarm" in still(model.picture)


def test_charts_follow_the_time_until_their_reader_moves_them() -> None:
    window = Window()
    assert window.follow(100.0, 60.0)
    assert (window.range.start, window.range.end) == (40_000, 100_000)
    window.range.update(start=10_000, end=70_000)  # as a browser tells
    assert window.held
    assert not window.follow(101.0, 60.0)
    assert window.range.end == 70_000
    window.release()
    assert window.follow(102.0, 60.0)
    window.hold()
    assert not window.follow(103.0, 60.0)


def test_an_hour_begins_with_a_whole_stretch_and_its_number_counts_all() -> None:
    model = Model()
    second = int(BEGAN.timestamp())
    told = tuple(Bucket(at, "text", "", succeeded=6) for at in range(second - 3600, second))
    offset = 4  # so that no stretch begins where the hour does
    model.take(changes(BEGAN + timedelta(seconds=offset), buckets=told, counters=()), None, address="")
    lines = model.picture.lines("text", 3600, 300)
    assert lines.ended[0] == 6.0
    assert lines.number == 6 * (3600 - offset)
