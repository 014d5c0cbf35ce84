from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from workbench.broker import RpcCaller, Topology
from workbench.core import rpc
from workbench.core.errors import WorkbenchError

NOON = rpc.encode(rpc.TrackerTime(at=datetime(2026, 7, 1, 12, tzinfo=UTC)))


def ask(monkeypatch: pytest.MonkeyPatch, body: bytes) -> rpc.TrackerTime:
    async def answer(*_args: object, **_options: object) -> bytes:
        return body

    async def run() -> rpc.TrackerTime:
        caller = RpcCaller(Topology())
        monkeypatch.setattr(caller, "ask", answer)
        return await caller.ask_tracker(rpc.GetTime(), rpc.TrackerTime, timeout=1)

    return asyncio.run(run())


def test_the_trackers_answer_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, NOON).at.hour == 12


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x81\xa6answer\xa6future", "the tracker's answer can't be read .*another version"),
        (b"", "the tracker's answer can't be read"),
        (rpc.encode(rpc.Problem(message="the disk is full")), "the tracker could not answer: the disk is full"),
        (rpc.encode(rpc.Tasks(records=())), "the tracker answered Tasks, not TrackerTime"),
    ],
)
def test_any_other_answer_is_an_error_that_says_what_came(
    monkeypatch: pytest.MonkeyPatch, body: bytes, message: str
) -> None:
    with pytest.raises(WorkbenchError, match=message):
        ask(monkeypatch, body)
