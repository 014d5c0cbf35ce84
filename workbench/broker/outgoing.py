"""What is published: the message, its way to the broker's confirm, and what is told where somebody gives it up."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from workbench.core import headers
from workbench.core.errors import BrokerUnavailable


class Outgoing(msgspec.Struct, frozen=True):
    """A message to publish."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str = ""
    headers: dict[str, Any] | None = None
    correlation_id: str = ""
    reply_to: str = ""
    expiration: float | None = None  # seconds it may wait on a queue
    persistent: bool = True


class GivenUp(msgspec.Struct, frozen=True):
    """What had become of messages when whoever published them gave up waiting."""

    confirmed: int
    sent: tuple[Outgoing, ...]  # sent and not confirmed: they may lie on a queue all the same
    error: BrokerUnavailable  # why


class Entry:
    """A message on its way, and who waits for its confirm."""

    __slots__ = ("done", "message", "nacks", "returns", "sent_at", "was_returned", "was_sent")

    def __init__(self, message: Outgoing, done: asyncio.Future[None]) -> None:
        self.message = message
        self.done = done
        self.returns = 0
        self.was_returned = False  # on the connection it was sent on last; its confirm follows
        self.was_sent = False
        self.sent_at = 0.0  # by the loop's clock, the last time
        self.nacks = 0  # times the broker refused it; a queue may be full

    def properties(self) -> dict[str, Any]:
        """Return the message's AMQP properties; they say where it was sent before."""
        message = self.message
        properties: dict[str, Any] = {"delivery_mode": 2 if message.persistent else 1}
        if message.message_id:
            properties["message_id"] = message.message_id
        if message.headers or self.was_sent:
            properties["headers"] = {**(message.headers or {}), **({headers.AGAIN: True} if self.was_sent else {})}
        if message.correlation_id:
            properties["correlation_id"] = message.correlation_id
        if message.reply_to:
            properties["reply_to"] = message.reply_to
        if message.expiration is not None:
            properties["expiration"] = str(int(message.expiration * 1000))
        return properties

    def fail(self, error: BrokerUnavailable) -> None:
        """Tell whoever waits that there will be no confirm."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # a future that nobody awaits any more is no news
