"""Slots: one child process each, forked from a warm server, with a private socket for tasks and one for output.

A slot starts its child, hands it one body at a time, keeps what it prints, and kills it where a limit is broken. What
follows from all that is the service's part.
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
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Protocol

import msgspec

from workbench.core.messages import Failure
from workbench.worker import child, wire

logger = logging.getLogger(__name__)

MAX_OUTPUT = 64 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Listener(Protocol):
    """Who is told what happens in a slot; all of it on the event loop."""

    def slot_ready(self, slot: Slot, ready: wire.Ready) -> None:
        """The child waits for its first task."""

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
    """

    def __init__(self, number: int, config: wire.ChildConfig, listener: Listener, processes: ForkServerContext) -> None:
        self.number = number
        self.done = 0  # attempts of the present child
        self.peak = 0  # bytes, as sampled while the present attempt runs
        self._config = config
        self._listener = listener
        self._processes = processes
        self._process: ForkServerProcess | None = None
        self._transport: asyncio.Transport | None = None
        self._output: _Output | None = None
        self._killed_for: Failure | None = None
        self._timer: asyncio.TimerHandle | None = None
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
        await loop.run_in_executor(None, process.start)  # waits for the fork server, which imports pandas first
        theirs.close()
        said.close()
        self._process = process
        self._output = _Output(heard)
        self._output.start()
        self._transport, _ = await loop.create_connection(lambda: _Frames(self._on_frame), sock=ours)
        loop.add_reader(process.sentinel, self._on_exit)

    def run(self, body: bytes, timeout: float | None) -> None:
        """Hand the child a task; it must have none."""
        assert self._transport is not None
        self.peak = 0
        self._transport.write(wire.pack(body))
        if timeout is not None:
            limit = Failure(
                type="TimeLimitExceeded",
                message=f"the attempt ran longer than its limit of {timeout:g} s and was killed",
                hint="give it longer with client.with_options(timeout=…), or less to do",
            )
            self._timer = asyncio.get_running_loop().call_later(timeout, self.kill, limit)

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
            self.kill(
                Failure(
                    type="MemoryLimitExceeded",
                    message=f"the attempt used {resident / 2**20:,.0f} MiB, "
                    f"more than the slot's limit of {limit / 2**20:,.0f} MiB, and was killed",
                    hint="give the worker a higher --memory-limit, or the task less data at once",
                )
            )

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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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
                self._ready = True
                self._listener.slot_ready(self, ready)
            case wire.NotReady(failure=failure):
                self._killed_for = failure  # it ends by itself
            case wire.Report() as report:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                if self._killed_for is None:  # else the kill came first, and the death follows
                    self.done += 1
                    self._listener.slot_reported(self, report, self._take_output())

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
        failure = self._killed_for or _death(code, exit_signal)
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


def _death(code: int | None, exit_signal: int | None) -> Failure:
    if exit_signal == signal.SIGKILL:
        return Failure(
            type="WorkerProcessDied",
            message="the process that ran the task was killed (SIGKILL), as the kernel does when memory runs out",
            hint="look at the host's memory and its kernel log; give the worker a --memory-limit",
        )
    if exit_signal is not None:
        return Failure(
            type="WorkerProcessDied",
            message=f"the process that ran the task died of {_signal_name(exit_signal)}",
            hint="the task's output (below) may show where: a crash in compiled code leaves no exception",
        )
    return Failure(
        type="WorkerProcessDied",
        message=f"the process that ran the task ended by itself with status {code}",
        hint="the operation (or a library it uses) called exit; it should raise an exception instead",
    )


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def resident_memory(pid: int | None) -> int:
    """Return the bytes of memory a process has in use; 0 where that can't be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


class _Frames(asyncio.Protocol):
    """Hands on the frames that come from a child."""

    def __init__(self, on_frame: Callable[[bytes], None]) -> None:
        self._on_frame = on_frame
        self._reader = wire.FrameReader()

    def data_received(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            self._on_frame(frame)


class _Output:
    """What a child prints and logs, its last 64 KiB. Read as it comes, so that a child never blocks on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._kept = bytearray()
        self._cut = 0

    def start(self) -> None:
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    def take(self) -> str:
        self._read()
        if not self._kept:
            return ""
        text = self._kept.decode("utf-8", errors="replace")
        if self._cut:
            text = f"… ({self._cut:,} bytes before this are cut)\n{text}"
        self._kept.clear()
        self._cut = 0
        return text

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _read(self) -> None:
        while True:
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                with contextlib.suppress(ValueError, OSError):
                    asyncio.get_running_loop().remove_reader(self._sock)
                return
            self._kept += data
            if (over := len(self._kept) - MAX_OUTPUT) > 0:
                del self._kept[:over]
                self._cut += over
