from __future__ import annotations

from typing import Any, cast

import pytest

from workbench.broker import Delivery
from workbench.core.messages import Task, utcnow
from workbench.worker.lease import DEFAULT, LATELY, LONGEST_WAIT, Leases
from workbench.worker.roster import Job


class Arrived:
    """A delivery of which nothing but its time counts."""

    def __init__(self, at: float) -> None:
        self.arrived = at


def job(*arrivals: float) -> Job[Delivery]:
    now = utcnow()
    task = Task(task_id="t", operation="a.b", client="c", submitted_at=now, queued_at=now)
    return Job(task, b"", cast(list[Any], [Arrived(at) for at in arrivals]))


def test_a_delivery_is_parked_after_half_of_the_time_the_broker_gives() -> None:
    leases = Leases(60.0)
    held = job(100.0, 120.0)
    assert leases.due([held], now=130.0) == []
    assert leases.due([held], now=131.0) == [(held, held.deliveries[0])]
    assert len(leases.due([held], now=151.0)) == 2


def test_where_nobody_says_how_long_the_broker_waits_its_default_counts_until_it_says_otherwise() -> None:
    leases = Leases(None)
    assert leases.due([job(0.0)], now=DEFAULT / 2) == []
    leases.learn(None)
    leases.learn(60.0)
    assert leases.due([job(0.0)], now=31.0)
    leases.learn(3600.0)  # another queue's: the shortest counts
    assert leases.ack_timeout == 60.0


def test_a_copy_waits_no_longer_than_it_may_take_to_notice_that_its_holder_is_gone() -> None:
    assert Leases(60.0).wait == 15.0
    assert Leases(30 * 24 * 3600.0).wait == LONGEST_WAIT


def test_what_has_ended_is_remembered_for_a_while_and_longer_where_a_copy_of_it_will_ask() -> None:
    leases = Leases(60.0)
    leases.parked(("long", 1))
    for key in (("long", 1), ("short", 1)):
        leases.ended(key, 100.0)
    for key in (("long", 1), ("short", 1)):
        assert leases.has_ended(key, 100.0 + LATELY / 2)
    assert leases.has_ended(("long", 1), 101.0 + LATELY)
    assert not leases.has_ended(("short", 1), 101.0 + LATELY)
    assert not leases.has_ended(("long", 2), 100.0)


@pytest.mark.parametrize("parked", [True, False])
def test_memory_of_what_has_ended_is_bounded(parked: bool) -> None:
    leases = Leases(60.0)
    for number in range(10_001):
        if parked:
            leases.parked((str(number), 1))
        leases.ended((str(number), 1), 0.0)
    assert not leases.has_ended(("0", 1), 0.0)
    assert leases.has_ended(("10000", 1), 0.0)
