"""`Replies`: answers to requests, which wait for the next connection where there is none."""

from __future__ import annotations

from collections import deque

from workbench.broker.session import Channel, ChannelLost

MOST = 1024
"""Answers kept while there is no connection; of more, the latest."""
MOST_BYTES = 64 * 2**20
"""Bytes of them: an answer may bring the outcomes of many tasks."""


class Replies:
    """Sends answers: transient, unconfirmed. Whoever asked asks again where its own connection is lost."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._kept: deque[tuple[str, str, bytes]] = deque()
        self._bytes = 0  # of those

    def __len__(self) -> int:
        return len(self._kept)

    def send(self, reply_to: str, correlation_id: str, body: bytes) -> None:
        """Send an answer now, or on the next connection."""
        if self._channel is not None:
            try:
                self._channel.publish("", reply_to, body, mandatory=False, correlation_id=correlation_id)
                return
            except ChannelLost:
                pass
        self._kept.append((reply_to, correlation_id, body))
        self._bytes += len(body)
        while len(self._kept) > MOST or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft()[2])

    def opened(self, channel: Channel) -> None:
        """Send what was kept, and from now on at once."""
        self._channel = channel
        kept, self._kept, self._bytes = self._kept, deque(), 0
        for answer in kept:
            self.send(*answer)

    def lost(self) -> None:
        """Keep what comes for the next connection."""
        self._channel = None
