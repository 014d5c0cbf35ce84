"""One AMQP connection and its channels, from opening to loss: pika's callbacks turned into futures.

This file is the edge: pika's types and exceptions stay in here. Everything runs on one event loop. Keeping a connection
alive is `connection.py`'s part.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import pika
import pika.exceptions

from workbench.broker.stream import StreamConnection
from workbench.broker.topology import Binding, Declaration, Exchange, Queue
from workbench.broker.versions import check_version
from workbench.core.errors import BrokerRefused, BrokerTooOld, BrokerUnavailable

logger = logging.getLogger(__name__)

HEARTBEAT = 30
"""Seconds after which a silent peer is taken for lost (twice that at the most)."""

_CLOSE_TIMEOUT = 3.0


class ChannelLost(BrokerUnavailable):
    """The channel or its connection was closed while something waited on it."""


def guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """Keep a callback's exception away from pika, which would abort the connection for it."""

    @functools.wraps(callback)
    def guard(*args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            logger.exception("a callback failed: %s", getattr(callback, "__qualname__", callback))

    return guard


class Session:
    """An open connection.

    Parameters
    ----------
    connection
        pika's, open.
    closed
        Done, with the reason, once the connection is gone.
    """

    def __init__(self, connection: Any, closed: asyncio.Future[BrokerUnavailable]) -> None:
        self._connection = connection
        self.closed = closed

    async def channel(self) -> Channel:
        """Open a channel."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self._connection.channel(on_open_callback=guarded(functools.partial(_resolve, opened)))
        except pika.exceptions.AMQPError as error:
            raise _translate(error, ChannelLost) from error
        await _first(opened, self.closed)
        return Channel(opened.result(), self)

    def on_blocked(self, callback: Callable[[str | None], None]) -> None:
        """Call `callback` with the reason when the broker blocks this connection, with None when it lets go."""
        self._connection.add_on_connection_blocked_callback(
            guarded(lambda _connection, frame: callback(str(frame.method.reason)))
        )
        self._connection.add_on_connection_unblocked_callback(guarded(lambda _connection, _frame: callback(None)))

    def drop(self, reason: str) -> None:
        """Give the connection up: the other side has made it useless."""
        if not (self._connection.is_closing or self._connection.is_closed):
            logger.info("giving up a connection: %s", reason)
        self._close(reason)

    async def close(self) -> None:
        """Close in order, or as it is where the broker doesn't answer."""
        self._close("closed by its owner")
        await asyncio.wait({self.closed})

    def _close(self, reason: str) -> None:
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close(reply_text=reason[:255])
        asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self._cut, reason)

    def _cut(self, reason: str) -> None:
        if not self.closed.done():  # a broker that hangs never answers a close
            self._connection._terminate_stream(pika.exceptions.StreamLostError(reason))


class Channel:
    """A channel: declares, publishes, consumes, acknowledges."""

    def __init__(self, channel: Any, session: Session) -> None:
        self._channel = channel
        self._session = session
        self.closed: asyncio.Future[BrokerUnavailable] = asyncio.get_running_loop().create_future()
        channel.add_on_close_callback(
            guarded(lambda _channel, error: _resolve(self.closed, _translate(error, ChannelLost)))
        )

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent on it."""
        return bool(self._channel.is_open)

    async def declare(self, declarations: Iterable[Declaration]) -> None:
        """Declare all of it, in order; raise what the broker answers where it refuses one.

        Only the last is answered: over a hundred round trips would take half a minute on a slow link. A refusal closes
        the channel, whichever it was of.
        """
        methods = [self._method(declaration) for declaration in declarations]
        for method in methods[:-1]:
            self._send(method)
        for method in methods[-1:]:
            await self._call(method)

    def _method(self, declaration: Declaration) -> Callable[..., None]:
        match declaration:
            case Exchange(name=name, type=kind, arguments=arguments):
                return functools.partial(
                    self._channel.exchange_declare, name, exchange_type=kind, durable=True, arguments=arguments
                )
            case Queue(name=name, arguments=arguments, exclusive=exclusive):
                return functools.partial(
                    self._channel.queue_declare,
                    name,
                    durable=not exclusive,
                    exclusive=exclusive,
                    auto_delete=exclusive,
                    arguments=arguments,
                )
            case Binding(source=source, to=to, key=key, to_exchange=to_exchange, arguments=arguments):
                bind = self._channel.exchange_bind if to_exchange else self._channel.queue_bind
                return functools.partial(bind, to, source, routing_key=key, arguments=arguments)

    async def count(self, queue: str) -> int:
        """Return how many messages are ready on a queue."""
        frame = await self._call(self._channel.queue_declare, queue, passive=True)
        return int(frame.method.message_count)

    async def delete(self, queue: str) -> None:
        """Delete a queue, with all that lies on it."""
        await self._call(self._channel.queue_delete, queue)

    async def look(self, queue: str) -> tuple[int, int]:
        """Return how many messages are ready on a queue, and how many consumers it has."""
        frame = await self._call(self._channel.queue_declare, queue, passive=True)
        return int(frame.method.message_count), int(frame.method.consumer_count)

    async def prefetch(self, count: int) -> None:
        """Let at most `count` deliveries be unacknowledged for each consumer that starts after this."""
        await self._call(self._channel.basic_qos, prefetch_count=count)

    async def consume(
        self, queue: str, on_message: Callable[[Any, Any, bytes], None], *, auto_ack: bool = False
    ) -> str:
        """Start a consumer; `on_message(method, properties, body)` is called on the loop. Returns its tag."""
        deliver = guarded(lambda _channel, method, properties, body: on_message(method, properties, body))
        frame = await self._call(self._channel.basic_consume, queue, deliver, auto_ack=auto_ack)
        return str(frame.method.consumer_tag)

    def on_cancelled(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the broker ends a consumer, as it does when its queue is deleted."""
        self._channel.add_on_cancel_callback(guarded(lambda _frame: callback()))

    async def cancel(self, tag: str) -> None:
        """Stop a consumer. What is still on its way is delivered before this returns."""
        cancelling = asyncio.ensure_future(self._call(self._channel.basic_cancel, tag))
        await asyncio.sleep(0)  # it is sent
        # pika would reject what comes until the broker has answered, and each time counts towards the delivery limit.
        self._channel._cancelled.discard(tag)
        await cancelling

    def on_return(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the properties of each message that no queue takes, where it was mandatory."""
        self._channel.add_on_return_callback(guarded(lambda _channel, _method, properties, _body: callback(properties)))

    async def confirm(self, on_confirm: Callable[[int, bool, bool], None], on_return: Callable[[str], None]) -> None:
        """Ask for publisher confirms: `on_confirm(tag, multiple, acked)`; `on_return(message_id)` comes before it."""
        self.on_return(lambda properties: on_return(properties.message_id or ""))

        def confirmed(frame: Any) -> None:
            method = frame.method
            on_confirm(method.delivery_tag, method.multiple, isinstance(method, pika.spec.Basic.Ack))

        await self._call(self._channel.confirm_delivery, guarded(confirmed))

    def publish(self, exchange: str, routing_key: str, body: bytes, *, mandatory: bool, **properties: Any) -> None:
        """Send one message; raise `ChannelLost` where the channel is gone, its parent where the message is at fault."""
        try:
            self._channel.basic_publish(
                exchange, routing_key, body, pika.BasicProperties(**properties), mandatory=mandatory
            )
        except pika.exceptions.AMQPError as error:
            raise _translate(error, BrokerUnavailable if self.is_open else ChannelLost) from error

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge; do nothing where the channel is gone, as the broker then delivers again anyway."""
        if self._channel.is_open:
            self._channel.basic_ack(tag, multiple)

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Give a delivery back, or (without `requeue`) hand it to the queue's dead-letter exchange."""
        if self._channel.is_open:
            self._channel.basic_reject(tag, requeue)

    def drop_session(self, reason: str) -> None:
        """Give up the whole connection."""
        self._session.drop(reason)

    async def close(self) -> None:
        """Close this channel only."""
        if self._channel.is_open:
            self._channel.close()
            await self.closed

    async def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send(method, *args, callback=guarded(functools.partial(_resolve, done)), **kwargs)
        await _first(done, self.closed)
        return done.result()

    @staticmethod
    def _send(method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            method(*args, **kwargs)
        except pika.exceptions.AMQPError as error:
            raise _translate(error, ChannelLost) from error


async def open_session(url: str, *, name: str, timeout: float = 15.0) -> Session:
    """Connect, and return the open connection.

    Raises
    ------
    BrokerRefused
        Where the broker says no to the credentials or the virtual host; its subclass `BrokerTooOld` where it is a
        RabbitMQ older than the topology needs.
    BrokerUnavailable
        Where it can't be reached in `timeout` seconds, or the URL can't be read.
    """
    quieten_pika()
    parameters = _parameters(url, name)
    address = f"{parameters.host}:{parameters.port}"
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Any] = loop.create_future()
    closed: asyncio.Future[BrokerUnavailable] = loop.create_future()
    connection = StreamConnection(
        parameters,
        on_open_callback=guarded(functools.partial(_resolve, opened)),
        on_open_error_callback=guarded(lambda _connection, error: _resolve(closed, _translate(error))),
        on_close_callback=guarded(lambda _connection, error: _resolve(closed, _translate(error))),
        custom_ioloop=loop,
    )
    try:
        async with asyncio.timeout(timeout):
            await _first(opened, closed)
        check_version(connection.server_properties, address)
    except TimeoutError:
        _abort(connection)
        raise BrokerUnavailable(
            f"the broker at {address} took the connection, but didn't answer within {timeout:g} s"
        ) from None
    except BrokerTooOld:
        await Session(connection, closed).close()
        raise
    except BrokerRefused as error:
        raise BrokerRefused(f"the broker at {address} says no: {error}") from error
    except BrokerUnavailable as error:
        raise BrokerUnavailable(f"the broker at {address} can't be reached: {error}") from error
    except asyncio.CancelledError:
        _abort(connection)
        raise
    return Session(connection, closed)


def _abort(connection: Any) -> None:
    """Give up a connection that hasn't opened. By its stream: pika's `close` fails where it waits for an answer."""
    if not connection.is_closed:
        connection._terminate_stream(pika.exceptions.StreamLostError("given up before it had opened"))


def _parameters(url: str, name: str) -> Any:
    try:
        if not url.startswith(("amqp://", "amqps://")):
            raise ValueError("it isn't an amqp:// or amqps:// URL")
        parameters = pika.URLParameters(url)
    except Exception as error:
        raise BrokerRefused(
            f"the broker's address can't be read ({error}); it looks like amqp://user:password@host:5672/"
        ) from error
    if "heartbeat=" not in url:
        parameters.heartbeat = HEARTBEAT
    parameters.client_properties = {"connection_name": name, "product": "workbench"}
    parameters.connection_attempts = 1
    return parameters


def quieten_pika() -> None:
    """Silence pika's own log, unless the user has set a level: it reports as errors what is handled here."""
    log = logging.getLogger("pika")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)


async def _first(wanted: asyncio.Future[Any], closed: asyncio.Future[BrokerUnavailable]) -> None:
    """Wait for `wanted`; raise the reason where the channel or connection closes first."""
    await asyncio.wait({wanted, closed}, return_when=asyncio.FIRST_COMPLETED)
    if not wanted.done():
        raise closed.result()


def _resolve(future: asyncio.Future[Any], value: Any = None) -> None:
    if not future.done():
        future.set_result(value)


def _translate(error: Any, to: type[BrokerUnavailable] = BrokerUnavailable) -> BrokerUnavailable:
    """Turn what pika says into an error of ours, with the innermost reason as its text."""
    inner = _innermost(error)
    code, text = getattr(inner, "reply_code", None), getattr(inner, "reply_text", None)
    reason = f"{code} {text}" if code is not None else str(inner) or type(inner).__name__
    if isinstance(inner, ssl.SSLError):
        reason += " (amqps:// is for a port where the broker speaks TLS, amqp:// for one where it doesn't)"
    if isinstance(inner, _REFUSALS) or code in _REFUSAL_CODES:
        return BrokerRefused(f"the broker refused the user, password or virtual host: {reason}")
    return to(reason)


_REFUSALS = (
    pika.exceptions.ProbableAuthenticationError,
    pika.exceptions.AuthenticationError,
    pika.exceptions.ProbableAccessDeniedError,
)
_REFUSAL_CODES = (403, 530)  # access refused; not allowed (no such virtual host)


def _innermost(error: Any) -> Any:
    """Unwrap the errors of the stages that pika connects in."""
    while True:
        if getattr(error, "exceptions", None):
            error = error.exceptions[-1]
        elif getattr(error, "exception", None) is not None:
            error = error.exception
        elif isinstance(error, pika.exceptions.AMQPConnectionError) and isinstance(_first_argument(error), Exception):
            error = _first_argument(error)
        else:
            return error


def _first_argument(error: Exception) -> Any:
    return error.args[0] if error.args else None
