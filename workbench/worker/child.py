"""What runs in a slot's child process: wait for a task, run it, report, wait for the next.

A child knows no broker. It ends when its worker does: the socket closes, or (in the middle of a task) the kernel
sends it SIGKILL with the fork server's end.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import inspect
import logging
import os
import resource
import shutil
import signal
import socket
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import msgspec

from workbench.core.errors import AttemptCancelled, WorkbenchError
from workbench.core.messages import Status, Task, decode_task
from workbench.operations import context, datasets, registry, signature
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.worker import failures, memory, wire
from workbench.worker.interrupts import Interrupts

PR_SET_PDEATHSIG = 1
OPEN_FILES = 65_536
"""Files that an attempt may have open, where the host lets it: it holds each of its input files."""
IDLE = 1.0
"""Seconds without a task after which a slot keeps no memory for the next one."""


def main(sock: socket.socket, output: socket.socket, config: bytes) -> None:
    """Serve one slot until the worker closes the socket.

    Parameters
    ----------
    sock
        Frames from and to the worker.
    output
        What the task prints goes here, as it does with a terminal.
    config
        An encoded `wire.ChildConfig`.
    """
    settings = msgspec.msgpack.decode(config, type=wire.ChildConfig)
    frames = wire.BlockingFrames(sock)
    interrupts = Interrupts(frames)
    _settle(output, settings)
    # Where Matplotlib keeps what it knows of fonts, and looks for settings. Its own place, the home directory, may be
    # read-only: it would then search all fonts in each process. So charts also look alike on all hosts.
    os.environ.setdefault("MPLCONFIGDIR", str(Path(settings.scratch) / "matplotlib"))
    try:
        registry.load(settings.include)
    except WorkbenchError as error:
        frames.send(wire.encode(wire.NotReady(failure=failures.describe(error))))
        return
    families = settings.families or registry.families()
    frames.send(wire.encode(wire.Ready(operations=registry.specs(families), families=families)))
    files = Files(settings.settings.store, settings.settings.roots)
    runner = Runner(files, Path(settings.scratch), frames, interrupts, settings.memory_limit)
    while (body := frames.task()) is not None:
        report = runner.run(body)
        frames.send(wire.encode(report))
        if (report.peak_memory or 0) > memory.MUCH and frames.quiet(IDLE):
            memory.give_back()
    os.killpg(os.getpid(), signal.SIGKILL)  # with what tasks have left, as the worker may be gone


def _settle(output: socket.socket, config: wire.ChildConfig) -> None:
    """Make this process a slot: its output is kept, its worker's end is its own, signals to the group pass it by."""
    os.setsid()  # what the task starts is in this group, and ends with it
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, force=True, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle: it drains
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _let_server_end()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, OPEN_FILES) if most >= 0 else OPEN_FILES, most))
    memory.share_arena()
    if config.memory_limit is not None:
        memory.limit(config.memory_limit)


def _let_server_end() -> None:
    """Give up this process's copy of the pipe by whose end the fork server knows that nobody needs it any more.

    With it a slot that runs something for an hour would keep the server, and so itself, alive for as long, though the
    worker was killed.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


class Runner:
    """Runs attempts, one after another.

    Parameters
    ----------
    files
        Which files this process may touch, and where large values go.
    scratch
        Below it each attempt has a directory of its own, made when asked for and removed afterwards.
    frames
        Where progress is told.
    interrupts
        Raises orders in an operation that runs.
    memory_limit
        Bytes an attempt may use; None for no limit.
    """

    def __init__(
        self, files: Files, scratch: Path, frames: wire.BlockingFrames, interrupts: Interrupts, memory_limit: int | None
    ) -> None:
        self._files = files
        self._scratch = scratch
        self._frames = frames
        self._interrupts = interrupts
        self._memory_limit = memory_limit
        self._peak = PeakMemory()
        self._leaf = functools.partial(datasets.from_wire, files=files)
        self._pid = os.getpid()

    def run(self, body: bytes) -> wire.Report:
        """Run one task; whatever it raises becomes data."""
        task = decode_task(body)
        scratch = self._scratch / task.task_id
        current = context.Attempt(memory_limit=self._memory_limit, tell=functools.partial(self._tell, task.task_id))
        self._peak.begin()
        try:
            with self._files.holding() as hold, context.attempt(scratch, hold, current):
                value = self._call(task)
                result = codecs.encode(self._hand_over(value, scratch), self._files)
            report = wire.Report(
                task_id=task.task_id,
                status=Status.SUCCEEDED,
                result=result,
                summary=codecs.describe(value),
            )
        except AttemptCancelled:
            report = wire.Report(task_id=task.task_id, status=Status.CANCELLED)
        except BaseException as error:  # a task may raise anything, SystemExit too: the slot goes on
            report = wire.Report(task_id=task.task_id, status=Status.FAILED, failure=failures.describe(error))
        finally:
            if os.getpid() != self._pid:
                os._exit(0)  # a copy that the task has forked and forgot: the slot's socket isn't its to write to
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError, OSError):  # a task may have closed it
                    stream.flush()
            if scratch.exists():
                shutil.rmtree(scratch, ignore_errors=True)
        return msgspec.structs.replace(report, peak_memory=self._peak.end(), notes=current.notes)

    def _tell(self, task_id: str, fraction: float, message: str) -> None:
        progress = wire.encode(wire.Progress(task_id=task_id, fraction=fraction, message=message))
        with self._interrupts.shield():
            self._frames.send(progress)

    def _call(self, task: Task) -> Any:
        operation = registry.get(task.operation)
        args, kwargs = signature.bind(
            operation.spec,
            [codecs.decode(raw, self._files) for raw in task.args],
            {name: codecs.decode(raw, self._files) for name, raw in task.kwargs.items()},
            self._leaf,
        )
        with self._interrupts.open_for(task):
            value = operation.function(*args, **kwargs)
            return self._interrupts.run(value) if inspect.iscoroutine(value) else value

    def _hand_over(self, value: Any, scratch: Path) -> Any:
        """Turn the paths of files that an operation made into references, wherever they stand in its result."""
        if isinstance(value, Path):
            if value.is_relative_to(scratch):
                return self._files.adopt(value)
            return FileRef(str(value), value.name, value.stat().st_size)
        if type(value) in (list, tuple):
            return [self._hand_over(item, scratch) for item in value]
        if type(value) is dict:
            return {key: self._hand_over(item, scratch) for key, item in value.items()}
        return value


class PeakMemory:
    """The most memory this process has used since an attempt began."""

    def __init__(self) -> None:
        self._before = 0
        self._reset: int | None = None
        with contextlib.suppress(OSError):  # elsewhere than on Linux, or where /proc can't be written
            self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)

    def begin(self) -> None:
        """Count from now on."""
        if self._reset is not None:
            os.write(self._reset, b"5")  # forget the highest resident size (proc(5))
        self._before = self._highest()

    def end(self) -> int | None:
        """Return the bytes; None where all that is known is an earlier attempt's."""
        highest = self._highest()
        return highest * 1024 if self._reset is not None or highest > self._before else None

    @staticmethod
    def _highest() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
