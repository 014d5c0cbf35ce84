"""A worker's processes, as the operating system lists them, and which of them runs a task."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.faults.scene import Process, Scene
from tests.support import is_alive, wait_until


def tree(worker: Process) -> list[psutil.Process]:
    """Return the worker's process and all below it: the fork server and the slots'."""
    top = psutil.Process(worker.pid)
    return [top, *top.children(recursive=True)]


def slots(worker: Process) -> list[int]:
    """Return the ids of its slots' processes: each leads a session of its own, which nothing else below it does."""
    return [each.pid for each in tree(worker)[1:] if is_alive(each.pid) and _leads_session(each.pid)]


@contextlib.contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes with SIGSTOP, and let them go on in the end."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def executions(scene: Scene, number: int) -> list[int]:
    """Return the id of the process of each execution of a numbered task."""
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in Path(scene.marks, str(number)).read_text().splitlines()]
    return []


def await_execution(scene: Scene, number: int, times: int = 1) -> int:
    """Wait until a numbered task has been started so many times; return the id of the last one's process."""
    wait_until(lambda: len(executions(scene, number)) >= times, what=f"task {number} is started, {times} times in all")
    return executions(scene, number)[-1]


def _leads_session(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False
