"""Answers that wait for a connection."""

from __future__ import annotations

from typing import cast

import pytest

from workbench.broker import replies
from workbench.broker.replies import Replies
from workbench.broker.session import Channel, ChannelLost


class FakeChannel:
    """Sends until it is lost."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.is_lost = False

    def publish(self, _exchange: str, reply_to: str, _body: bytes, *, mandatory: bool, correlation_id: str) -> None:
        if self.is_lost:
            raise ChannelLost("gone")
        self.sent.append(f"{reply_to} {correlation_id}")


def test_answers_wait_in_order_for_a_connection_and_are_sent_once() -> None:
    kept, first, second = Replies(), FakeChannel(), FakeChannel()
    kept.send("a", "1", b"")
    kept.opened(cast(Channel, first))
    first.is_lost = True  # as it may be before anybody has said so
    kept.send("b", "2", b"")
    kept.lost()
    kept.send("c", "3", b"")
    kept.opened(cast(Channel, second))
    assert (first.sent, second.sent) == (["a 1"], ["b 2", "c 3"])
    assert len(kept) == 0


def test_the_latest_answers_are_kept_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "MOST", 3)
    monkeypatch.setattr(replies, "MOST_BYTES", 100)
    kept, channel = Replies(), FakeChannel()
    for number in range(5):
        kept.send("few", str(number), b"")
    assert len(kept) == 3
    kept.send("large", "5", b"x" * 60)
    kept.send("large", "6", b"x" * 60)
    assert len(kept) == 1
    kept.send("larger than all", "7", b"x" * 200)
    kept.opened(cast(Channel, channel))
    assert channel.sent == ["larger than all 7"]
    kept.lost()
    kept.send("large", "8", b"x" * 60)  # the room is free again
    assert len(kept) == 1
