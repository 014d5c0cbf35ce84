"""Ends the supervisor's children when the supervisor itself was killed and can't.

A process of its own that reads commands from the supervisor: `watch PGID`, `forget PGID`, `bye`. When they end without
a `bye`, the groups still watched get SIGTERM, and SIGKILL soon after. It runs as a bare script, so that it stays small
and depends on nothing that could fail.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

PATIENCE = 3.0
"""Seconds between SIGTERM and SIGKILL."""


def survivors(commands: Iterable[str]) -> list[int]:
    """Return the process groups that are still watched when the commands end; none after a `bye`."""
    watched: list[int] = []
    for line in commands:
        match line.split():
            case ["watch", group]:
                watched.append(int(group))
            case ["forget", group] if int(group) in watched:
                watched.remove(int(group))
            case ["bye"]:
                return []
    return watched


def end(groups: list[int], patience: float) -> None:
    """Send SIGTERM to all, latest first, as services lean on what was started before; kill what is left afterwards."""
    for group in reversed(groups):
        _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(_signal(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    end(survivors(sys.stdin), PATIENCE)
