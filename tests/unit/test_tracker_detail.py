from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tracker_facts import IDS, accepted, at, finished, learn, started
from workbench.core.messages import CancelRequested, Failure, Status, TaskLost, encode
from workbench.core.states import State, TaskRecord
from workbench.tracker.database import Database
from workbench.tracker.detail import LONGEST, detail, preview
from workbench.tracker.retrying import again
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.plain import Code

Ext = msgspec.msgpack.Ext


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "store"), ())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, "a", None, {"b": 2.5}], "[1, 'a', None, {'b': 2.5}]"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "datetime.datetime(2026, 1, 2, 3, 4, "),
        (Decimal("1.50"), "1.50"),
        ({(1, 2): "x"}, "{(1, 2): 'x'}"),
        (pd.NA, "NA"),
    ],
)
def test_plain_values_are_shown_as_they_are(value: Any, text: str, files: Files) -> None:
    assert text in preview(codecs.encode(value, files))


def test_others_are_told_of_by_kind_and_size(files: Files) -> None:
    frame = pd.DataFrame({"a": range(3)})
    assert preview(codecs.encode(frame, files)).startswith("DataFrame, ")
    assert preview(codecs.encode([np.arange(3)], files)).startswith("[array, ")
    large = preview(codecs.encode(pd.DataFrame({"a": np.arange(1_000_000)}), files))
    assert large.startswith("DataFrame in the store, ")
    assert "MiB" in large or "MB" in large


def test_what_is_long_is_cut(files: Files) -> None:
    assert len(preview(codecs.encode(["x" * 10_000] * 100, files))) <= LONGEST
    assert len(preview(codecs.encode({str(number): "y" * 999 for number in range(999)}, files))) <= LONGEST


def nested(levels: int) -> bytes:
    data = b"\x01"
    for _ in range(levels):
        data = msgspec.msgpack.encode(Ext(Code.TUPLE, b"\x91" + data))
    return data


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000 + b"\x01",
        nested(4000),
        *(msgspec.msgpack.encode(Ext(code, msgspec.msgpack.encode(7))) for code in (*range(1, 8), *range(16, 27), 99)),
        *(msgspec.msgpack.encode(Ext(code, b"\x93\x91\x01\xa1a\x91\x01")) for code in range(1, 27)),
    ],
)
def test_damaged_values_are_told_of_and_do_no_harm(encoded: bytes) -> None:
    assert len(preview(encoded)) <= LONGEST


@given(st.binary(max_size=200))
def test_any_bytes_have_a_preview(encoded: bytes) -> None:
    assert len(preview(encoded)) <= LONGEST


def test_a_story_tells_each_attempt_in_the_order_of_time(tmp_path: Path) -> None:
    raw = msgspec.Raw(msgspec.msgpack.encode("flights.csv"))
    with Database(f"sqlite:///{tmp_path / 't.db'}") as database:
        learn(
            database,
            accepted(args=(raw,), kwargs={"by": raw}),
            finished(status=Status.RETRY, failure=Failure(type="OSError", message="away\nfor now"), retry_at=at(3)),
            accepted(attempt=2),
            started(attempt=2, seconds=4),
            TaskLost(task_id=IDS[0], attempt=2, worker="w1", since=at(4), at=at(9)),
            started(attempt=2, worker="w2", seconds=10),
            CancelRequested(task_id=IDS[0], at=at(11), reason="not needed"),
            finished(
                attempt=2,
                worker="w2",
                status=Status.CANCELLED,
                started_at=at(10),
                finished_at=at(12),
                failure=Failure(type="Cancelled", message="it was cancelled"),
            ),
        )
        record = database.records(IDS[:1])[0]
        told = detail(record, database.attempts(IDS[0]), encode(accepted(args=(raw,), kwargs={"by": raw})), None)
    assert told.arguments == (("0", "'flights.csv'"), ("by", "'flights.csv'"))
    assert [event.what for event in told.events] == [
        "submitted by c",
        "attempt 1 started on w1",
        "attempt 1 failed, to be tried again at 00:00:03 UTC: OSError: away",
        "attempt 2 started on w1",
        "attempt 2 was lost on w1",
        "attempt 2 started on w2",
        "somebody asked for its end: not needed",
        "attempt 2 ended as cancelled: Cancelled: it was cancelled",
    ]
    assert told.retryable
    assert not detail(record, [], None, None).retryable  # its message has been swept


def test_a_story_begins_with_the_submission_though_clocks_differ(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 't.db'}") as database:
        learn(database, accepted(), finished(started_at=at(-0.002), finished_at=at(-0.001)))
        told = detail(database.records(IDS[:1])[0], database.attempts(IDS[0]), None, None)
    assert [event.what.split()[0] for event in told.events] == ["submitted", "attempt", "attempt"]
    assert told.events[1].what.endswith("started on w1")


def test_a_task_is_sent_again_as_the_replay_and_attempt_after_the_last() -> None:
    task = accepted(attempt=2, replay=1, expires_at=at(5), deadline_at=at(6))
    record = TaskRecord(task_id=IDS[0], state=State.FAILED, attempt=4, replay=1)
    anew = again(record, task)
    assert (anew.replay, anew.attempt, anew.first_attempt) == (2, 5, 5)
    assert (anew.expires_at, anew.deadline_at) == (None, None)
    assert anew.queued_at - task.queued_at > timedelta(0)
    ended_before_its_copy_came = TaskRecord(task_id=IDS[0], state=State.FAILED, attempt=1)
    assert again(ended_before_its_copy_came, task).replay == 2
