"""Slots: one child process each, forked from a warm server, with a private socket for tasks and one for output.

A slot starts its child, hands it one body at a time, keeps what it prints, passes on orders, and kills it where a limit
is broken. What follows from all that is the attempts' part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from workbench.core.messages import Failure, Task
from workbench.worker import child, deaths, wire
from workbench.worker.pipes import Frames, Output

logger = logging.getLogger(__name__)

START_TIMEOUT = 60.0
CANCEL_GRACE = 5.0
"""Seconds an operation that is cancelled has to end in order."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Listener(Protocol):
    """Who is told what happens in a slot; all of it on the event loop."""

    def slot_ready(self, slot: Slot, ready: wire.Ready) -> None:
        """The child waits for its first task."""

    def slot_progressed(self, slot: Slot, progress: wire.Progress) -> None:
        """The attempt has told how far it is."""

    def slot_reported(self, slot: Slot, report: wire.Report, output: str) -> None:
        """The attempt has ended by itself, having printed `output`."""

    def slot_died(self, slot: Slot, failure: Failure, exit_signal: int | None, output: str) -> None:
        """The child is gone, with whatever it ran."""

    def slot_failed(self, slot: Slot, failure: Failure, output: str) -> None:
        """The child is gone before it could take a task."""


def context(preload: Sequence[str]) -> ForkServerContext:
    """Return the multiprocessing context whose fork server has the heavy libraries loaded."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["workbench.worker.preload", *preload])
    return server


class Slot:
    """One place to run a task in.

    Parameters
    ----------
    number
        From 1.
    config
        What its children are told.
    listener
        Who is told what happens.
    processes
        From `context`.
    cancel_grace
        Seconds between an order to end and SIGKILL.
    """

    def __init__(
        self,
        number: int,
        config: wire.ChildConfig,
        listener: Listener,
        processes: ForkServerContext,
        *,
        cancel_grace: float = CANCEL_GRACE,
    ) -> None:
        self.number = number
        self.done = 0  # attempts of the present child
        self.peak = 0  # bytes, as sampled while the present attempt runs
        self.cancelled_for: str | None = None  # the reason, where the present attempt is to end
        self._config = config
        self._listener = listener
        self._processes = processes
        self._process: ForkServerProcess | None = None
        self._transport: asyncio.Transport | None = None
        self._output: Output | None = None
        self._killed_for: Failure | None = None
        self._cancel_grace = cancel_grace
        self._task: Task | None = None  # of the present attempt
        self._timers: list[asyncio.TimerHandle] = []  # of the present attempt, or of the start
        self._stopping = False
        self._ready = False
        self._exiting = False

    def __repr__(self) -> str:
        return f"<Slot {self.number}: pid {self.pid}>"

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid if self._process else None

    @property
    def takes_tasks(self) -> bool:
        """Whether its child is up; where it isn't, `slot_ready` follows once there is another."""
        return self._ready and not self._exiting and not self._stopping

    async def start(self) -> None:
        """Fork a child. It reports itself ready."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        heard, said = socket.socketpair()
        self.done = 0
        self._ready = self._exiting = False
        self._killed_for = None
        process = self._processes.Process(
            target=child.main, args=(theirs, said, msgspec.msgpack.encode(self._config)), name=f"slot-{self.number}"
        )
        starting = loop.run_in_executor(None, process.start)  # waits for the fork server, which imports pandas first
        try:
            await asyncio.shield(starting)
        except BaseException:
            await asyncio.wait({starting})  # what isn't there yet can't be ended
            ours.close()
            heard.close()
            if starting.exception() is None:
                _kill_group(process)
                await loop.run_in_executor(None, process.join)
                process.close()
            raise
        finally:
            theirs.close()
            said.close()
        self._process = process
        self._output = Output(heard)
        self._output.start()
        self._transport, _ = await loop.create_connection(lambda: Frames(self._on_frame), sock=ours)
        loop.add_reader(process.sentinel, self._on_exit)
        too_long = Failure(
            type="StartTimeout",
            message=f"the slot's process was not ready within {START_TIMEOUT:g} s: does a module that it imports wait?",
        )
        self._timers = [loop.call_later(START_TIMEOUT, self.kill, too_long)]

    def run(
        self,
        task: Task,
        body: bytes,
        *,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        timeout_failure: Failure | None = None,
    ) -> None:
        """Hand the child a task; it must have none.

        Parameters
        ----------
        task, body
            The task, and the message it came as.
        timeout, soft_timeout
            Seconds until it is killed, and until `SoftTimeLimit` is raised in it.
        timeout_failure
            What it then failed of, where the limit isn't the attempt's own.
        """
        assert self._transport is not None
        self.peak = 0
        self.cancelled_for = None
        self._task = task
        self._transport.write(wire.pack(body, wire.TASK))
        loop = asyncio.get_running_loop()
        if timeout is not None:
            limit = timeout_failure or deaths.time_limit(timeout)
            self._timers.append(loop.call_later(timeout, self.kill, limit))
        if soft_timeout is not None:
            self._timers.append(loop.call_later(soft_timeout, self._order, "soft_limit"))

    def cancel(self, reason: str) -> None:
        """Have the present attempt end: an exception in its operation now, SIGKILL after a grace time.

        A report follows, or `slot_died`; `cancelled_for` has the reason until the next attempt.
        """
        if self.cancelled_for is None:
            self.cancelled_for = reason
            self._order("cancel")
            stubborn = Failure(type="Cancelled", message=f"it did not end within {self._cancel_grace:g} s")
            self._timers.append(asyncio.get_running_loop().call_later(self._cancel_grace, self.kill, stubborn))

    def _order(self, kind: Literal["cancel", "soft_limit"]) -> None:
        """Send an order, then the signal that has it read. To the child alone: what it has started isn't ordered."""
        if self._task is None or self._transport is None or self._process is None or self._process.pid is None:
            return
        order = wire.Order(self._task.task_id, self._task.attempt, kind)
        self._transport.write(wire.pack(wire.encode(order), wire.ORDER))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self, reason: Failure) -> None:
        """Kill the child (SIGKILL, which C code can't ignore); `slot_died` follows, with this reason."""
        if self._process is not None and self._killed_for is None:
            self._killed_for = reason
            _kill_group(self._process)

    def check_memory(self) -> None:
        """Sample the child's resident memory, and kill it where it is above the limit."""
        resident = resident_memory(self.pid)
        self.peak = max(self.peak, resident)
        limit = self._config.memory_limit
        if limit is not None and resident > limit:
            self.kill(deaths.memory_limit(resident, limit))

    async def restart(self) -> None:
        """Replace an idle child, where there is one, by a fresh one."""
        await self.stop()
        self._stopping = False
        await self.start()

    async def stop(self) -> None:
        """Let an idle child end: its socket closes. A busy one is killed."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.sentinel)
        if self._transport is not None:
            self._transport.close()
        await loop.run_in_executor(None, process.join, 1.0)
        _kill_group(process)
        await loop.run_in_executor(None, process.join, 5.0)
        self._release()

    def _release(self) -> None:
        self._cancel_timers()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self._output is not None:
            self._output.close()
            self._output = None
        if self._process is not None:
            self._process.close()
            self._process = None

    def _on_frame(self, frame: bytes) -> None:
        match wire.decode(frame):
            case wire.Ready() as ready:
                self._cancel_timers()
                self._ready = True
                self._listener.slot_ready(self, ready)
            case wire.NotReady(failure=failure):
                self._killed_for = failure  # it ends by itself
            case wire.Progress() as progress:
                self._listener.slot_progressed(self, progress)
            case wire.Report() as report:
                self._cancel_timers()
                if self._killed_for is None:  # else the kill came first, and the death follows
                    self.done += 1
                    self._listener.slot_reported(self, report, self._take_output())

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _on_exit(self) -> None:
        process = self._process
        if process is None or self._stopping:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.sentinel)
        self._exiting = True
        loop.call_soon(self._exited, process)  # what it has said before may be read in this turn of the loop

    def _exited(self, process: ForkServerProcess) -> None:
        if process is not self._process or self._stopping:
            return
        process.join()
        _kill_group(process)  # what the task started, and left
        code = process.exitcode
        exit_signal = -code if code is not None and code < 0 else None
        failure = self._killed_for or deaths.death(code, exit_signal)
        shutil.rmtree(self._config.scratch, ignore_errors=True)  # what the dead child left
        output = self._take_output()
        self._release()
        if self._ready:
            self._listener.slot_died(self, failure, exit_signal, output)
        else:
            self._listener.slot_failed(self, failure, output)

    def _take_output(self) -> str:
        return self._output.take() if self._output is not None else ""


def _kill_group(process: ForkServerProcess) -> None:
    """Kill a child and whatever it has started; the child leads a group of its own once it has settled."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()


def resident_memory(pid: int | None) -> int:
    """Return the bytes of memory a process has in use; 0 where that can't be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0
