"""Orders and questions to workers, over the `control` exchange: frozen, typed, data only."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from workbench.core.messages import Attempt, Name, Replay, read


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="order", omit_defaults=True):
    """What every order has in common: how it is written."""


class CancelTasks(Order, frozen=True, kw_only=True, tag="cancel"):
    """End these tasks (by id and replay) where they run, and drop them where they come."""

    tasks: tuple[tuple[Name, Replay], ...]
    reason: str = ""


class Drain(Order, frozen=True, kw_only=True, tag="drain"):
    """Take nothing more, let what runs end, and stop; as on SIGTERM. Answered by `Draining`."""


class AskHolder(Order, frozen=True, kw_only=True, tag="holder.ask"):
    """Does this worker still run this attempt? Answered by `Holding`."""

    task_id: Name
    attempt: Attempt
    replay: Replay = 0


class Hold(StrEnum):
    """What a worker knows of an attempt."""

    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `AskHolder`."""

    hold: Hold


class Draining(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `Drain`."""

    running: int  # tasks that it still runs


AnyOrder = CancelTasks | AskHolder | Drain

encode = msgspec.msgpack.Encoder().encode
"""Write an order or an answer as bytes."""

_order_decoder: msgspec.msgpack.Decoder[AnyOrder] = msgspec.msgpack.Decoder(AnyOrder)
_holding_decoder: msgspec.msgpack.Decoder[Holding] = msgspec.msgpack.Decoder(Holding)
_draining_decoder: msgspec.msgpack.Decoder[Draining] = msgspec.msgpack.Decoder(Draining)


def decode_order(body: bytes) -> AnyOrder:
    """Read an order; raise `msgspec.DecodeError` where `body` isn't one."""
    return read(_order_decoder, body)


def decode_holding(body: bytes) -> Holding:
    """Read the answer to `AskHolder`; raise `msgspec.DecodeError` where `body` isn't one."""
    return read(_holding_decoder, body)


def decode_draining(body: bytes) -> Draining:
    """Read the answer to `Drain`; raise `msgspec.DecodeError` where `body` isn't one."""
    return read(_draining_decoder, body)
