from workbench.core.messages import Task, utcnow
from workbench.worker.roster import Job, Roster


def task(task_id: str, attempt: int = 1) -> Task:
    now = utcnow()
    return Task(task_id=task_id, operation="data.head", client="c", submitted_at=now, queued_at=now, attempt=attempt)


def arrive(roster: Roster[str], task_id: str, delivery: str | None = None, attempt: int = 1) -> Job[str] | None:
    return roster.arrived(task(task_id, attempt), b"", delivery or f"delivery of {task_id}")


def test_a_task_goes_to_an_idle_slot_at_once_and_waits_where_there_is_none() -> None:
    roster: Roster[str] = Roster()
    assert roster.freed(1) is None
    first = arrive(roster, "a")
    assert first is not None
    assert first.slot == 1
    assert arrive(roster, "b") is None
    roster.ended(first)
    second = roster.freed(1)
    assert second is not None
    assert second.task.task_id == "b"


def test_tasks_start_in_the_order_they_came() -> None:
    roster: Roster[str] = Roster()
    for name in "abc":
        arrive(roster, name)
    started = [job.task.task_id for slot in (1, 2, 3) if (job := roster.freed(slot))]
    assert started == ["a", "b", "c"]


def test_a_task_that_is_delivered_again_while_it_runs_is_not_started_again() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    roster.freed(2)
    job = arrive(roster, "a", "first")
    assert job is not None
    roster.lost()
    assert arrive(roster, "a", "second") is None
    assert roster.busy == 1
    roster.ended(job)
    assert roster.settled(job) == ["second"]
    assert roster.held == 0


def test_a_task_that_ended_while_the_channel_was_lost_acknowledges_the_delivery_it_gets_later() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    job = arrive(roster, "a", "first")
    assert job is not None
    roster.ended(job)
    roster.lost()
    assert arrive(roster, "a", "second") is None
    assert roster.settled(job) == ["second"]


def test_both_copies_of_a_task_that_was_published_twice_are_acknowledged() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    roster.freed(2)
    job = arrive(roster, "a", "first")
    assert job is not None
    assert arrive(roster, "a", "second") is None
    assert roster.settled(job) == ["first", "second"]


def test_an_attempt_that_comes_again_while_the_next_one_is_here_stays_apart_from_it() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    roster.freed(2)
    first = arrive(roster, "a", "first", attempt=1)
    roster.lost()
    second = arrive(roster, "a", "second", attempt=2)
    assert arrive(roster, "a", "first again", attempt=1) is None
    assert first is not None
    assert second is not None
    assert roster.settled(first) == ["first again"]
    assert roster.settled(second) == ["second"]


def test_a_slot_that_died_idle_gets_no_task_until_it_is_freed_again_and_then_one_at_a_time() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    roster.gone(1)
    assert arrive(roster, "a") is None
    job = roster.freed(1)
    assert job is not None
    assert job.task.task_id == "a"
    assert arrive(roster, "b") is None


def test_what_waits_is_dropped_when_the_channel_is_lost_and_taken_when_it_comes_again() -> None:
    roster: Roster[str] = Roster()
    arrive(roster, "a", "first")
    roster.lost()
    assert roster.held == 0
    assert roster.freed(1) is None
    again = arrive(roster, "a", "second")
    assert again is not None
    assert again.deliveries == ["second"]


def test_the_next_attempt_of_a_task_is_not_taken_for_a_redelivery() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    roster.freed(2)
    first = arrive(roster, "a", "first", attempt=1)
    second = arrive(roster, "a", "second", attempt=2)
    assert first is not None
    assert second is not None
    assert roster.settled(first) == ["first"]
    assert roster.settled(second) == ["second"]


def test_draining_gives_back_what_waits_and_starts_nothing_more() -> None:
    roster: Roster[str] = Roster()
    roster.freed(1)
    running = arrive(roster, "a")
    arrive(roster, "b")
    assert roster.drain() == ["delivery of b"]
    assert running is not None
    roster.ended(running)
    assert roster.freed(1) is None
    assert roster.held == 1
    roster.settled(running)
    assert roster.held == 0
