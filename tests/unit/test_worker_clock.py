from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from workbench.broker import RpcCaller
from workbench.core import rpc
from workbench.core.errors import TrackerUnavailable
from workbench.core.messages import utcnow
from workbench.worker.clock import Clock, passing

HOUR = timedelta(hours=1)
SOON = timedelta(seconds=30)  # for a machine that is busy


class Caller(RpcCaller):
    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer

    async def ask(self, body: bytes, *, timeout: float, exchange: str = "", key: str | None = None) -> bytes:
        assert rpc.decode_request(body) == rpc.GetTime()
        if self.answer is None:
            raise TrackerUnavailable("none")
        return self.answer


def test_until_a_tracker_tells_its_time_the_host_s_counts() -> None:
    clock = Clock()
    asyncio.run(clock.ask(Caller(None)))
    asyncio.run(clock.ask(Caller(rpc.encode(rpc.Problem(message="too old to know the question")))))
    asyncio.run(clock.ask(Caller(b"nonsense")))
    assert abs(clock.now() - utcnow()) < SOON
    assert clock.skew == 0.0


def test_what_the_tracker_told_counts_and_goes_on_to_when_it_tells_no_more(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            asyncio.run(clock.ask(Caller(rpc.encode(rpc.TrackerTime(at=utcnow() - HOUR)))))
    asyncio.run(clock.ask(Caller(None)))
    assert abs(clock.now() - (utcnow() - HOUR)) < SOON
    assert clock.skew == pytest.approx(HOUR.total_seconds(), abs=SOON.total_seconds())
    (warning,) = caplog.messages
    assert "+3600" in warning


def test_what_is_told_only_goes_forwards_from_the_time_the_tracker_told_in_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, began = Clock(), utcnow() - HOUR
    asyncio.run(clock.begin(Caller(rpc.encode(rpc.TrackerTime(at=began)))))
    monkeypatch.setattr("workbench.worker.clock.utcnow", lambda: began - 24 * HOUR)
    asyncio.run(clock.ask(Caller(rpc.encode(rpc.TrackerTime(at=began - 2 * HOUR)))))
    assert abs(clock.now() - (began - 2 * HOUR)) < SOON
    assert abs(clock.stamp() - began) < SOON


def test_an_answer_is_taken_to_tell_the_time_of_midway_between_question_and_answer() -> None:
    clock, told, asked = Clock(), utcnow(), passing() - 10.0
    clock.learn(told, asked=asked, answered=asked + 4.0)
    assert timedelta(seconds=8) <= clock.now() - told < timedelta(seconds=8) + SOON
