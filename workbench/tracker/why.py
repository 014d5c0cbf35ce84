"""Why a task isn't done, in one sentence: a pure function of what the tracker knows and the broker told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from workbench.broker.inspect import QueueDepth
from workbench.core.messages import Failure
from workbench.core.routing import family_of
from workbench.core.rpc import WorkerRecord
from workbench.core.states import State, TaskRecord
from workbench.tracker.workers import takes

MOST_AHEAD = 10_000
"""Tasks ahead of one are counted up to here."""

SOON_TAKEN = 15.0
"""Seconds within which an idle worker has taken what is on its queue, and has told so."""

_ANOTHER = "the broker will give the task to another"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that the sentence is made of."""

    record: TaskRecord
    workers: Sequence[WorkerRecord] = ()
    queue: str = ""  # the name of the queue that it goes through
    depth: QueueDepth | None = None  # None where that queue isn't there
    asked: bool = True  # whether the broker could be asked
    ahead: int = 0  # tasks on the same queue that were submitted before it
    blocked: str = ""  # why the broker takes nothing in, where it doesn't


def why(view: View, *, now: datetime) -> str:
    """Return why a task isn't done; of one that has ended, how and when."""
    record = view.record
    if record.state.terminal:
        return _ended(record, now)
    parts = [view.blocked] if view.blocked else []
    if record.cancel_at is not None:
        reason = f" ({record.cancel_reason})" if record.cancel_reason else ""
        parts.append(f"cancelling has been asked for at {_clock(record.cancel_at, now)}{reason}")
    if record.state is State.RUNNING:
        parts.append(_running(view, now))
    elif record.state is State.RETRYING:
        parts.append(_retrying(record, now))
    else:
        parts.append(_queued(view, now))
    return "; ".join(parts)


def _ended(record: TaskRecord, now: datetime) -> str:
    at = f" at {_clock(record.finished_at, now)}" if record.finished_at else ""
    where = f" on {record.worker}" if record.worker else ""
    attempt = f", in attempt {record.attempt}" if record.attempt > 1 else ""
    took = f", after {_duration(record.seconds_running)}" if record.seconds_running is not None else ""
    match record.state:
        case State.SUCCEEDED:
            return f"it succeeded{at}{where}{took}{attempt}"
        case State.FAILED:
            return f"it failed{at}{where}{took}{attempt}{_reason(record.failure)}"
        case State.CANCELLED:
            reason = f": {record.cancel_reason}" if record.cancel_reason else ""
            return f"it was cancelled{at}{where}{reason}"
        case _:
            return f"it expired{at}, as no worker had started it in time"


def _running(view: View, now: datetime) -> str:
    record = view.record
    worker = next((worker for worker in view.workers if worker.worker == record.worker), None)
    if worker is not None and worker.lost:
        silence = _duration((now - worker.last_heartbeat_at).total_seconds())
        return f"its worker {worker.worker} has not been heard from for {silence}: {_ANOTHER}"
    if worker is not None and not worker.online:
        return f"its worker {worker.worker} has stopped: {_ANOTHER}"
    slot = f" (slot {record.slot})" if record.slot is not None else ""
    since = f" for {_duration((now - record.started_at).total_seconds())}" if record.started_at else ""
    sentence = f"it has been running on {record.worker}{slot}{since}, attempt {record.attempt}"
    told = record.progress
    if told is not None and told.attempt == record.attempt:
        sentence += f": {told.fraction * 100:.0f} %" + (f", {told.message}" if told.message else "")
    return sentence


def _retrying(record: TaskRecord, now: datetime) -> str:
    at = f" at {_clock(record.retry_at, now)}" if record.retry_at else ""
    failed = f", as attempt {record.attempt} failed{_reason(record.failure)}" if record.failure else ""
    return f"it waits for attempt {record.attempt + 1}{at}{failed}"


def _queued(view: View, now: datetime) -> str:
    record = view.record
    if record.submitted_at is None and record.attempt == 0:
        return "the task itself has not come in"
    before = ""
    if record.loss is not None and record.loss.attempt == record.attempt:
        before = f"attempt {record.attempt} was lost with its worker {record.loss.worker}; "
    family = family_of(record.operation)
    start = f"start one with `workbench worker {family}{f' --lane {record.lane}' if record.lane else ''}`"
    if view.asked and view.depth is None:
        return f"{before}there is no queue {view.queue}: no worker for it has ever run, or it was deleted: {start}"
    takers = [worker for worker in _fitting(view) if worker.online]
    if (view.depth is not None and not view.depth.consumers) or (not view.asked and not takers):
        return f"{before}no worker takes tasks from the queue {view.queue}: {start}"
    if not takers and (silent := _silent(view)) is not None:
        silence = _duration((now - silent.last_heartbeat_at).total_seconds())
        return f"{before}nobody who takes from its queue is heard from, {silent.worker} not for {silence}: {start}"
    slots = sum(worker.slots for worker in takers)
    busy = sum(min(worker.busy, worker.slots) for worker in takers)
    if slots and busy >= slots:
        of_workers = f"of {_count(len(takers), 'worker')} {'is' if slots == 1 else 'are'} busy"
        all_slots = "the only slot" if slots == 1 else f"all {slots} slots"
        return f"{before}{all_slots} {of_workers}; {_ahead(view.ahead)}"
    seconds = (now - record.queued_at).total_seconds() if record.queued_at else 0.0
    waits = f" for {_duration(seconds)}" if record.queued_at else ""
    if view.depth is not None and not view.depth.ready and not busy and not before and seconds > SOON_TAKEN:
        return (
            f"it has been queued{waits}, and yet its queue is empty and its workers are idle: the queue may have been "
            "deleted meanwhile; where this stays so for two minutes, the tracker publishes the task again"
        )
    return f"{before}it has been queued{waits}; {_ahead(view.ahead)}"


def _fitting(view: View) -> list[WorkerRecord]:
    """Return the workers that take, or took, from the queue of the task."""
    return [worker for worker in view.workers if takes(worker, view.record.operation, view.record.lane)]


def _silent(view: View) -> WorkerRecord | None:
    """Return the one that fell silent last, of those that fit."""
    lost = [worker for worker in _fitting(view) if worker.lost]
    return max(lost, key=lambda worker: worker.last_heartbeat_at, default=None)


def _ahead(count: int) -> str:
    if count == 0:
        return "it is the next"
    more = "more than " if count >= MOST_AHEAD else ""
    return f"{more}{_count(count, 'task')} {'is' if count == 1 else 'are'} ahead of it"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _reason(failure: Failure | None) -> str:
    if failure is None:
        return ""
    first = failure.message.strip().partition("\n")[0]
    return f": {failure.type}: {first}" if first else f": {failure.type}"


def _clock(time: datetime, now: datetime) -> str:
    return f"{time:%H:%M:%S} UTC" if time.date() == now.date() else f"{time:%H:%M:%S} UTC on {time:%Y-%m-%d}"


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 2 * 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
