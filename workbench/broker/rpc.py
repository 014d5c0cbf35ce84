"""`RpcCaller`: requests to the tracker, or to one worker, and their answers, over direct reply-to.

RabbitMQ's direct reply-to (https://www.rabbitmq.com/docs/direct-reply-to) needs no queue, but the request has to be
published on the channel that consumes the answers, and an answer is lost with it: so whatever is open is asked again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any, TypeVar

import msgspec

from workbench.broker.session import Channel, ChannelLost, Session
from workbench.broker.topology import Topology
from workbench.core import rpc
from workbench.core.errors import TrackerUnavailable, WorkbenchError

logger = logging.getLogger(__name__)

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"

A = TypeVar("A", bound=rpc.AnyAnswer)


class NobodyThere(TrackerUnavailable):
    """No queue takes a request with this key: whom it was meant for has gone."""


class _Request:
    """What was asked, of whom, and who waits for the answer."""

    __slots__ = ("answer", "body", "deadline", "exchange", "key", "mandatory")

    def __init__(self, body: bytes, deadline: float, exchange: str, key: str, mandatory: bool) -> None:
        self.body = body
        self.deadline = deadline
        self.exchange = exchange
        self.key = key
        self.mandatory = mandatory  # it comes back where no queue takes it
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class RpcCaller:
    """Asks the tracker, or whoever a key leads to; a part of a connection (add it to a publisher's)."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._channel: Channel | None = None
        self._open: dict[str, _Request] = {}
        self._ids = itertools.count(1)

    async def ask_tracker(self, request: rpc.AnyRequest, kind: type[A], *, timeout: float) -> A:
        """Ask the tracker, and return its answer, which is to be of one `kind`.

        Raises
        ------
        TrackerUnavailable
            Where no answer has come in `timeout` seconds.
        WorkbenchError
            Where the tracker says that it could not answer, or its answer is another one or can't be read.
        """
        body = await self.ask(rpc.encode(request), timeout=timeout)
        try:
            answer = rpc.decode_answer(body)
        except msgspec.DecodeError as error:
            raise WorkbenchError(
                f"the tracker's answer can't be read ({error}); it may be of another version than this one"
            ) from error
        if isinstance(answer, rpc.Problem):
            raise WorkbenchError(f"the tracker could not answer: {answer.message}")
        if not isinstance(answer, kind):
            raise WorkbenchError(f"the tracker answered {type(answer).__name__}, not {kind.__name__}")
        return answer

    async def ask(self, body: bytes, *, timeout: float, exchange: str = "", key: str | None = None) -> bytes:
        """Ask, and return the answer.

        Parameters
        ----------
        body
            The request.
        timeout
            Seconds; a connection that is lost meanwhile, and opened again, costs part of them.
        exchange, key
            Where somebody else than the tracker is asked.

        Raises
        ------
        NobodyThere
            At once, where no queue takes a request with this `key`.
        TrackerUnavailable
            Where no answer has come in time.
        """
        others = key is not None
        deadline = asyncio.get_running_loop().time() + timeout
        request = _Request(body, deadline, exchange, key if key is not None else self._topology.rpc_queue, others)
        correlation_id = str(next(self._ids))
        self._open[correlation_id] = request
        try:
            self._send(correlation_id, request)
            async with asyncio.timeout(timeout):
                return await request.answer
        except TimeoutError:
            raise TrackerUnavailable(
                f"no answer from {request.key!r} within {timeout:g} s"
                if others
                else f"no answer from the tracker within {timeout:g} s. Is one running? `workbench status` tells; "
                "`workbench tracker` starts one"
            ) from None
        finally:
            del self._open[correlation_id]

    def close(self) -> None:
        """Tell whoever waits for an answer that none will come."""
        for request in self._open.values():
            if not request.answer.done():
                request.answer.set_exception(TrackerUnavailable("the connection was closed before an answer came"))

    def ask_again(self) -> None:
        """Send whatever is open once more: the tracker that had it may be gone."""
        for correlation_id, request in self._open.items():
            self._send(correlation_id, request)

    async def opened(self, session: Session) -> None:
        """Listen for answers, then ask again what was open."""
        channel = await session.channel()
        channel.on_return(self._returned)
        await channel.consume(DIRECT_REPLY_TO, self._answered, auto_ack=True)
        channel.closed.add_done_callback(
            lambda reason: session.drop(f"the channel for answers is closed: {reason.result()}")
        )
        self._channel = channel
        self.ask_again()

    def lost(self, reason: str) -> None:
        """Keep what is open for the next connection."""
        self._channel = None

    def _send(self, correlation_id: str, request: _Request) -> None:
        left = request.deadline - asyncio.get_running_loop().time()
        if self._channel is None or not self._channel.is_open or left <= 0:
            return
        try:
            self._channel.publish(
                request.exchange,
                request.key,
                request.body,
                mandatory=request.mandatory,
                correlation_id=correlation_id,
                reply_to=DIRECT_REPLY_TO,
                expiration=str(int(left * 1000)),
            )
        except ChannelLost:
            logger.info("a request waits for the next connection")

    def _answered(self, _method: Any, properties: Any, body: bytes) -> None:
        request = self._open.get(properties.correlation_id or "")
        if request is not None and not request.answer.done():
            request.answer.set_result(body)

    def _returned(self, properties: Any) -> None:
        request = self._open.get(properties.correlation_id or "")
        if request is not None and not request.answer.done():
            request.answer.set_exception(NobodyThere(f"no queue takes requests with the key {request.key!r}"))
