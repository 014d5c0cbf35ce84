"""Which brokers will do: held against what a broker says of itself as a connection opens. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workbench.core.errors import BrokerTooOld

OLDEST = (3, 10)
"""The first RabbitMQ with all that the topology needs: dead-lettering at least once from quorum queues."""


def check_version(properties: Mapping[str, Any] | None, address: str) -> None:
    """Raise `BrokerTooOld` where the broker's own properties name a RabbitMQ that is too old.

    What isn't RabbitMQ, or says nothing of its version, is taken as it is.
    """
    found = properties or {}
    product, version = (_text(found.get(name)) for name in ("product", "version"))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if product != "RabbitMQ" or numbers is None:
        return
    if (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise BrokerTooOld(
            f"the broker at {address} is RabbitMQ {version}; workbench needs {'.'.join(map(str, OLDEST))} or later. "
            "Upgrade it, or let `workbench up` start a private one"
        )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
