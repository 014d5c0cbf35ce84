"""What one task was given and gave, as bounded text, and its story. Pure.

Values are read as far as MessagePack goes, and no further: a frame or a picture is told of by its kind and its size,
as the tracker opens nothing that comes from elsewhere.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from workbench.core.live import Detail, Event
from workbench.core.messages import Status, Task, TaskFinished, decode_task
from workbench.core.rpc import AttemptRecord
from workbench.core.states import State, TaskRecord
from workbench.values.plain import Code
from workbench.values.refs import size_text

LONGEST = 2000
"""Characters of one value."""

_MOST_ARGUMENTS = 100
_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxdict = 20
_short.maxstring = _short.maxother = 500
_short.maxlevel = 4
_KINDS = {
    Code.FRAME: "DataFrame",
    Code.SERIES: "Series",
    Code.TABLE: "Table",
    Code.IMAGE: "Image",
    Code.ARRAY: "array",
}
_TEXTS = {Code.DATE, Code.DECIMAL, Code.MISSING}
_IN_ORDER = {Code.TUPLE, Code.PAIRS, Code.DATETIME, Code.TIME, Code.DURATION, Code.TIMESTAMP, Code.TIMEDELTA}


class _Told:
    """A value that is told of rather than read."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def detail(
    record: TaskRecord, attempts: Sequence[AttemptRecord], message: bytes | None, outcome: bytes | None
) -> Detail:
    """Put together what is known of a task.

    Parameters
    ----------
    record, attempts
        Its record, and its executions in order.
    message, outcome
        Its newest message and the outcome that ended it, as they came; None where they are kept no more.
    """
    task = _read(message)
    end = msgspec.msgpack.decode(outcome, type=TaskFinished) if outcome is not None else None
    return Detail(
        record=record,
        arguments=tuple(_arguments(task)) if task is not None else (),
        result=_result(end),
        events=_in_order(_story(record, attempts), record.submitted_at),
        retryable=retryable(record) and task is not None,
    )


def retryable(record: TaskRecord) -> bool:
    """Whether a task has ended otherwise than well."""
    return record.state.terminal and record.state is not State.SUCCEEDED


def preview(encoded: bytes | msgspec.Raw) -> str:
    """Return an encoded value as text, cut where it is long; what isn't plain is told of by its kind and size."""
    try:
        value = msgspec.msgpack.decode(encoded, ext_hook=_told)
    except (msgspec.DecodeError, RecursionError, ValueError, TypeError, OverflowError) as error:
        return f"unreadable ({error})"
    text = _short.repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _told(code: int, data: memoryview) -> Any:
    if code in _TEXTS:
        return _Told(bytes(data[:100]).decode(errors="replace"))
    if code in _IN_ORDER:
        inner = msgspec.msgpack.decode(data, ext_hook=_told)
        if code == Code.PAIRS:
            return _Told(f"{{{', '.join(f'{_short.repr(key)}: {_short.repr(item)}' for key, item in inner[:20])}}}")
        if code == Code.TUPLE:
            return tuple(inner)
        return _Told(" ".join(str(part) for part in inner if part not in (None, 0))[:100])
    if code == Code.FILE:
        _uri, name, size = msgspec.msgpack.decode(data)
        return _Told(f"file {name}" + (f", {size_text(size)}" if isinstance(size, int) else ""))
    if code == Code.STORED:
        _key, size, inner_code = msgspec.msgpack.decode(data)
        return _Told(f"{_KINDS.get(inner_code, 'value')} in the store, {size_text(size)}")
    return _Told(f"{_KINDS.get(code, 'value')}, {size_text(len(data))}")


def _read(message: bytes | None) -> Task | None:
    return None if message is None else decode_task(message)


def _arguments(task: Task) -> Iterable[tuple[str, str]]:
    for place, value in enumerate(task.args[:_MOST_ARGUMENTS]):
        yield str(place), preview(value)
    for name in list(task.kwargs)[:_MOST_ARGUMENTS]:
        yield name, preview(task.kwargs[name])


def _result(end: TaskFinished | None) -> str:
    if end is None or end.result is None:
        return ""
    return preview(end.result)


def _in_order(events: Iterable[Event], begin: datetime | None) -> tuple[Event, ...]:
    """Sort a story by its times, but for its beginning: a producer's clock may be ahead of a worker's, by a little."""
    return tuple(sorted(events, key=lambda event: event.at if begin is None else max(begin, event.at)))


def _story(record: TaskRecord, attempts: Sequence[AttemptRecord]) -> Iterable[Event]:
    if record.submitted_at is not None:
        yield Event(record.submitted_at, f"submitted by {record.client}")
    if record.replay and record.queued_at is not None:
        yield Event(record.queued_at, f"put on its queue, sent again for the {_ordinal(record.replay)} time")
    if record.cancel_at is not None:
        reason = f": {record.cancel_reason}" if record.cancel_reason else ""
        yield Event(record.cancel_at, f"somebody asked for its end{reason}")
    for attempt in attempts:
        where = f" on {attempt.worker}" if attempt.worker else ""
        if attempt.started_at is not None:
            yield Event(attempt.started_at, f"attempt {attempt.attempt} started{where}")
        if attempt.lost_at is not None:
            yield Event(attempt.lost_at, f"attempt {attempt.attempt} was lost{where}")
        if attempt.outcome is not None:
            yield Event(attempt.finished_at or attempt.outcome.finished_at, _ending(attempt, attempt.outcome))


def _ending(attempt: AttemptRecord, end: TaskFinished) -> str:
    why = f": {str(end.failure).partition(chr(10))[0]}" if end.failure is not None else ""
    if end.status is Status.RETRY:
        again = f", to be tried again at {_clock(end.retry_at)}" if end.retry_at else ", to be tried again"
        return f"attempt {attempt.attempt} failed{again}{why}"
    return f"attempt {attempt.attempt} ended as {end.status.value}{why}"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"
