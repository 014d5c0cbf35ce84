"""`Interrupts`: how a worker reaches an operation that runs: by an order in the slot's socket, and SIGTERM to read it.

The signal alone means nothing, since service managers and batch systems send it to every process of a group: the worker
then drains, and its slots go on. With an order for the task that runs, an exception is raised in the operation, and
nowhere else: what the child itself does between and after operations isn't disturbed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from workbench.core.errors import AttemptCancelled, SoftTimeLimit
from workbench.core.messages import Task
from workbench.worker import wire
from workbench.worker.wire import BlockingFrames


class Interrupts:
    """Raises orders in the operation that runs; belongs to the main thread.

    Parameters
    ----------
    frames
        Where orders come, among the tasks.
    """

    def __init__(self, frames: BlockingFrames) -> None:
        self._frames = frames
        self._pid = os.getpid()
        self._running: tuple[str, int] | None = None  # the task and the attempt whose operation runs now
        self._shielded = False
        self._looking = False
        self._missed = False  # a signal came while it was shielded, or while another was looked into
        self._coroutine: asyncio.Task[Any] | None = None
        self._raised: BaseException | None = None  # what the coroutine was cancelled for
        self._listen()

    @contextmanager
    def open_for(self, task: Task) -> Iterator[None]:
        """Let orders for this attempt be raised within, those that have come already as well."""
        self._raised = None
        self._listen()
        self._running = task.task_id, task.attempt
        try:
            self._look()
            yield
        finally:
            self._running = None

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Raise nothing within, where something is sent that has to stay whole; afterwards, what came meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._missed:
            self._look()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine; an order cancels it, as asyncio's own time limits do, and is raised when it has ended."""

        async def interruptible() -> Any:
            self._coroutine = asyncio.current_task()
            return await coroutine

        try:
            return asyncio.run(interruptible())
        except asyncio.CancelledError:
            if self._raised is not None:
                raise self._raised from None
            raise
        finally:
            self._coroutine = None

    def _listen(self) -> None:
        """Have the signal come here, also where an operation has left it to something else."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if os.getpid() != self._pid:  # a copy that the operation has forked: the signal is for it, the orders are not
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        if self._running is None:
            return
        if self._shielded or self._looking:
            self._missed = True
        else:
            self._look()

    def _look(self) -> None:
        orders: list[wire.Order] = []
        self._looking = True
        while True:
            self._missed = False
            orders += self._frames.orders()
            if not self._missed:
                break
        self._looking = False
        mine = [order for order in orders if (order.task_id, order.attempt) == self._running]
        if mine:  # an order to end counts before a limit that came with it
            self._raise(min(mine, key=lambda order: order.kind != "cancel"))

    def _raise(self, order: wire.Order) -> None:
        error: BaseException
        if order.kind == "cancel":
            self._running = None  # nothing else is raised in what it cleans up
            error = AttemptCancelled("the task was cancelled")
        else:
            error = SoftTimeLimit("the attempt has run for its soft time limit")
        if self._coroutine is None:
            raise error
        self._raised = error
        self._coroutine.get_loop().call_soon_threadsafe(self._coroutine.cancel)  # from a signal handler: wakes the loop
