"""Why a slot's process is gone, as failures: limits that it broke, and deaths that nobody ordered."""

from __future__ import annotations

import contextlib
import signal

from workbench.core.messages import Failure


def time_limit(seconds: float) -> Failure:
    """Return the failure of an attempt that was killed as it ran for too long."""
    return Failure(
        type="TimeLimitExceeded",
        message=f"the attempt ran longer than its limit of {seconds:g} s and was killed",
        hint="give it longer with client.with_options(timeout=…), or less to do",
    )


def memory_limit(resident: int, limit: int) -> Failure:
    """Return the failure of an attempt that was killed as it used too much memory (bytes)."""
    return Failure(
        type="MemoryLimitExceeded",
        message=f"the attempt used {resident / 2**20:,.0f} MiB, "
        f"more than the slot's limit of {limit / 2**20:,.0f} MiB, and was killed",
        hint="give the worker a higher --memory-limit, or the task less data at once",
    )


def death(code: int | None, exit_signal: int | None) -> Failure:
    """Return the failure of an attempt whose process died by itself."""
    if exit_signal == signal.SIGKILL:
        return Failure(
            type="WorkerProcessDied",
            message="the process that ran the task was killed (SIGKILL), as the kernel does when memory runs out",
            hint="look at the host's memory and its kernel log; give the worker a --memory-limit",
            transient=True,
        )
    if exit_signal is not None:
        return Failure(
            type="WorkerProcessDied",
            message=f"the process that ran the task died of {_signal_name(exit_signal)}",
            hint="the task's output (below) may show where: a crash in compiled code leaves no exception",
            transient=True,
        )
    return Failure(
        type="WorkerProcessDied",
        message=f"the process that ran the task ended by itself with status {code}",
        hint="the operation (or a library it uses) called exit; it should raise an exception instead",
        transient=True,
    )


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
