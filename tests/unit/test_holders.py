from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from workbench.broker import NobodyThere, RpcCaller, Topology
from workbench.broker.topology import worker_key
from workbench.core import control, rpc
from workbench.core.control import Hold
from workbench.core.errors import TrackerUnavailable
from workbench.core.messages import Failure, Task, utcnow
from workbench.core.states import Loss, State, TaskRecord
from workbench.worker.holders import Fate, Found, Holders, holder_of, is_over

TOPOLOGY = Topology("test.")


def task(attempt: int = 2, replay: int = 0) -> Task:
    now = utcnow()
    return Task(
        task_id="t", operation="a.b", client="c", submitted_at=now, queued_at=now, attempt=attempt, replay=replay
    )


def record(state: State, attempt: int = 2, replay: int = 0, worker: str | None = "other") -> TaskRecord:
    return TaskRecord(task_id="t", state=state, attempt=attempt, replay=replay, worker=worker)


class Caller(RpcCaller):
    """Answers as the tracker and as one worker; raises where one of them is silent or gone."""

    def __init__(self, known: TaskRecord | Exception | None, holds: Hold | Exception) -> None:
        self.known = known
        self.holds = holds
        self.asked: list[str] = []

    async def ask(self, body: bytes, *, timeout: float, exchange: str = "", key: str | None = None) -> bytes:
        self.asked.append(key or "tracker")
        answer = self.known if key is None else self.holds
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Hold):
            return control.encode(control.Holding(hold=answer))
        return rpc.encode(rpc.Tasks(records=(answer,) if answer else ()))


SILENT = TrackerUnavailable("no answer")
GONE = NobodyThere("no queue")


@pytest.mark.parametrize(
    ("known", "holds", "fate"),
    [
        (None, GONE, Fate.RUN),  # the tracker has not heard of it yet
        (SILENT, GONE, Fate.RUN),
        (record(State.QUEUED), GONE, Fate.RUN),
        (record(State.RUNNING), GONE, Fate.RUN),
        (record(State.RUNNING), SILENT, Fate.RUN),
        (record(State.RUNNING), Hold.UNKNOWN, Fate.RUN),
        (record(State.RUNNING), Hold.RUNNING, Fate.WAIT),
        (record(State.RUNNING), Hold.ENDED, Fate.DROP),
        (record(State.RUNNING, worker="me"), Hold.UNKNOWN, Fate.RUN),
        (record(State.SUCCEEDED), GONE, Fate.DROP),
        (record(State.RUNNING, attempt=3), GONE, Fate.DROP),
        (record(State.RETRYING), GONE, Fate.DROP),
    ],
)
def test_what_was_delivered_before_is_run_unless_it_runs_elsewhere_or_has_ended(
    known: TaskRecord | Exception | None, holds: Hold | Exception, fate: Fate
) -> None:
    caller = Caller(known, holds)
    found = asyncio.run(Holders(caller, TOPOLOGY, "me").of_redelivery(task()))
    assert found.fate is fate
    assert found.holder == ("other" if fate is Fate.WAIT else "")
    assert "worker.me" not in caller.asked


@pytest.mark.parametrize(
    ("known", "holds", "fate"),
    [
        (SILENT, Hold.RUNNING, Fate.WAIT),
        (SILENT, Hold.ENDED, Fate.DROP),
        (SILENT, SILENT, Fate.WAIT),  # it may run: whoever made the copy is there, and doesn't answer
        (SILENT, GONE, Fate.WAIT),
        (record(State.RUNNING), GONE, Fate.RUN),
        (record(State.RUNNING), Hold.UNKNOWN, Fate.RUN),
        (record(State.FAILED), GONE, Fate.DROP),
        (None, GONE, Fate.RUN),
    ],
)
def test_a_copy_waits_until_its_holder_or_the_tracker_says_what_became_of_it(
    known: TaskRecord | Exception | None, holds: Hold | Exception, fate: Fate
) -> None:
    caller = Caller(known, holds)
    assert asyncio.run(Holders(caller, TOPOLOGY, "me").of_copy(task(), "other")).fate is fate


@pytest.mark.parametrize(("holds", "fate"), [(Hold.RUNNING, Fate.WAIT), (Hold.ENDED, Fate.DROP), (GONE, Fate.RUN)])
def test_a_second_copy_of_a_holder_that_is_gone_is_not_run_beside_the_first(
    holds: Hold | Exception, fate: Fate
) -> None:
    class Callers(Caller):
        async def ask(self, body: bytes, *, timeout: float, exchange: str = "", key: str | None = None) -> bytes:
            if key == worker_key("gone"):
                raise GONE
            return await super().ask(body, timeout=timeout, exchange=exchange, key=key)

    caller = Callers(record(State.RUNNING), holds)  # by "other", which got the first copy
    found = asyncio.run(Holders(caller, TOPOLOGY, "me").of_copy(task(), "gone"))
    assert (found.fate, found.holder) == (fate, "other" if fate is Fate.WAIT else "")
    assert caller.asked == ["tracker", worker_key("other")]


def test_what_has_failed_is_dropped_with_its_failure_as_its_dead_letter_may_be_missing() -> None:
    failure = Failure(type="ValueError", message="no")
    known = msgspec.structs.replace(record(State.FAILED), failure=failure)
    holders = Holders(Caller(known, GONE), TOPOLOGY, "me")
    assert asyncio.run(holders.of_redelivery(task())) == Found(Fate.DROP, failure=failure)
    assert asyncio.run(holders.of_copy(task(), "other")) == Found(Fate.DROP, failure=failure)
    assert asyncio.run(holders.of_redelivery(task(attempt=1))) == Found(Fate.DROP)  # of an attempt before it


@pytest.mark.parametrize(
    ("state", "fields", "over"),
    [
        (State.FAILED, {"replay": 0}, False),  # a message of the next replay
        (State.QUEUED, {"replay": 2}, True),
        (State.CANCELLED, {"replay": 1}, True),
        (State.QUEUED, {"replay": 1}, False),
    ],
)
def test_a_replay_is_over_when_the_next_one_has_begun(state: State, fields: dict[str, Any], over: bool) -> None:
    assert is_over(record(state, **fields), task(replay=1)) is over


def test_only_the_worker_of_this_very_attempt_is_its_holder() -> None:
    assert holder_of(record(State.RUNNING), task()) == "other"
    assert holder_of(record(State.RUNNING, attempt=1), task()) == ""
    assert holder_of(record(State.QUEUED), task()) == ""
    assert holder_of(None, task()) == ""


@pytest.mark.parametrize(
    ("known", "began"),
    [
        (None, False),
        (record(State.QUEUED), False),
        (msgspec.structs.replace(record(State.QUEUED), loss=Loss(2, utcnow(), "other")), True),
        (msgspec.structs.replace(record(State.QUEUED), loss=Loss(1, utcnow(), "other")), False),
        (record(State.RUNNING), True),
        (record(State.QUEUED, replay=1), False),
    ],
)
def test_an_attempt_that_was_lost_with_its_worker_is_told_from_one_that_never_began(
    known: TaskRecord | None, began: bool
) -> None:
    caller = Caller(known, GONE)
    found = asyncio.run(Holders(caller, TOPOLOGY, "me").of_redelivery(task()))
    assert found == Found(found.fate, began=began)
