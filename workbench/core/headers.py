"""The headers of a dead letter: why it is one, who says so, and when."""

from __future__ import annotations

REASON = "x-workbench-reason"
REASON_TYPE = "x-workbench-reason-type"
"""In one word: `OutOfAttempts`, `Rejected`, `Unreadable`, …"""
BY_WORKER = "x-workbench-worker"
BY_TRACKER = "x-workbench-tracker"
"""Names the tracker that could not read or record a message, and so put it among the dead letters."""
AT = "x-workbench-at"
TOLD = "x-workbench-told"
"""There where the outcome of the task is published already, so that no verdict is needed."""
AGAIN = "x-workbench-again"
"""Not of a dead letter: there where a message was published before, and may have arrived, as no confirm came."""
HOLDER = "x-workbench-holder"
"""Not of a dead letter: names the worker that still runs the task of which this is a copy (see worker.lease)."""
