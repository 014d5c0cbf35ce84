"""`Usage`: how many cores processes keep busy, by what the kernel has counted for each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER_AFTER_NAME = 11  # utime's place among the fields after the name (proc(5)); stime is the next


class Usage:
    """Compares what processes have used with the last time it was asked."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}
        self._at = time.monotonic()

    def cores(self, processes: Iterable[int]) -> float:
        """Return how many cores these processes have kept busy, on average, since the last call.

        One that is new since then counts with all that it has used.
        """
        now = time.monotonic()
        used = {pid: seconds for pid in processes if (seconds := cpu_seconds(pid)) is not None}
        spent = sum(max(0.0, seconds - self._used.get(pid, 0.0)) for pid, seconds in used.items())
        elapsed, self._used, self._at = now - self._at, used, now
        return round(spent / elapsed, 3) if elapsed > 0 else 0.0


def cpu_seconds(pid: int) -> float | None:
    """Return the seconds of processor time a process has used; None where that can't be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[_USER_AFTER_NAME]) + int(fields[_USER_AFTER_NAME + 1])) / _TICKS
    except (OSError, IndexError, ValueError):
        return None
