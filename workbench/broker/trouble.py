"""What is the matter with the broker, told as an error: decided from what a connection and a publisher know. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.broker.connection import ConnectionState
from workbench.core.errors import BrokerBlocked, BrokerRefused, BrokerUnavailable, QueueFull


def explain(
    what: str,
    *,
    state: ConnectionState,
    reason: str,
    address: str,
    refusal: BrokerRefused | None = None,
    full: Sequence[str] = (),
    then: str = "",
) -> BrokerUnavailable:
    """Return the error that tells why the broker did not take or answer something in time.

    Parameters
    ----------
    what
        What didn't happen, as the beginning of the message; the cause follows it.
    state, reason
        The connection's.
    address
        The broker's host and port.
    refusal
        What the broker last said no with, where it did.
    full
        The routing keys of messages that it refused because a queue takes no more.
    then
        What follows from it, as the end of the message.
    """
    kind, cause = _cause(state, reason, address, refusal, full)
    return kind(f"{what} ({cause}){then}")


def _cause(
    state: ConnectionState, reason: str, address: str, refusal: BrokerRefused | None, full: Sequence[str]
) -> tuple[type[BrokerUnavailable], str]:
    if state is ConnectionState.BLOCKED:
        return BrokerBlocked, f"the broker at {address} is blocked: {reason}"
    if refusal is not None:
        return type(refusal), str(refusal)
    if full:
        keys = ", ".join(repr(key) for key in full[:5]) + (", …" if len(full) > 5 else "")
        return QueueFull, f"a queue takes no more messages with the routing key {keys}"
    if state is ConnectionState.OPEN:
        return BrokerUnavailable, f"the broker at {address} is connected, but doesn't answer"
    cause = reason or f"the connection is {state}"
    return BrokerUnavailable, cause if address in cause else f"the broker at {address}: {cause}"
