"""Task ids: UUID version 7 (RFC 9562), so that ids sort by the time they were made."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime

_lock = threading.Lock()
_last = 0


def new_task_id() -> str:
    """Make an id that sorts after every earlier one of this process.

    Returns
    -------
    str
        A UUIDv7 in its usual form: 48 bits of milliseconds, then 74 bits that start at random and count upwards
        within a millisecond (RFC 9562, section 6.2, method 2).
    """
    global _last
    millis = time.time_ns() // 1_000_000
    fresh = (millis << 74) | (int.from_bytes(os.urandom(10), "big") & ((1 << 73) - 1))  # top bit free: room to count
    with _lock:
        _last = value = fresh if (fresh >> 74) > (_last >> 74) else _last + 1
    stamp, rand = value >> 74, value & ((1 << 74) - 1)
    number = (stamp << 80) | (0x7 << 76) | ((rand >> 62) << 64) | (0b10 << 62) | (rand & ((1 << 62) - 1))
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def made_at(task_id: str) -> datetime | None:
    """Return when an id was made, in UTC, to the millisecond; None where it isn't a UUIDv7."""
    try:
        number = uuid.UUID(task_id)
    except ValueError:
        return None
    return datetime.fromtimestamp((number.int >> 80) / 1000, UTC) if number.version == 7 else None


def new_name(prefix: str) -> str:
    """Make a short name that no other process has: `prefix-` and 12 random hexadecimal digits."""
    return f"{prefix}-{os.urandom(6).hex()}"
