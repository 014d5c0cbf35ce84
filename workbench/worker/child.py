"""What runs in a slot's child process: wait for a task, run it, report, wait for the next.

A child knows no broker. It ends when its worker does: the socket closes, or (in the middle of a task) the kernel
sends it SIGKILL with the fork server's end.
"""

from __future__ import annotations

import asyncio
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
import traceback
from pathlib import Path
from typing import Any

import msgspec

from workbench.core.errors import WorkbenchError
from workbench.core.messages import Failure, Status, Task, decode_task
from workbench.operations import context, registry, signature
from workbench.values import arguments, codecs
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.worker import wire

PR_SET_PDEATHSIG = 1
MAX_TRACEBACK = 16 * 1024


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
    _settle(output, settings)
    frames = wire.BlockingFrames(sock)
    try:
        registry.load(settings.include)
    except WorkbenchError as error:
        frames.send(wire.encode(wire.NotReady(failure=describe(error))))
        return
    families = settings.families or registry.families()
    frames.send(wire.encode(wire.Ready(operations=registry.specs(families), families=families)))
    runner = Runner(Files(settings.settings.store, settings.settings.roots), Path(settings.scratch))
    while (body := frames.receive()) is not None:
        frames.send(wire.encode(runner.run(body)))


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C and SIGTERM are the worker's to handle: it drains
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if config.memory_limit is not None:
        # The kernel refuses memory beyond this, which a task sees as a MemoryError; what slips through (the kernel
        # counts what is mapped, not what is used) the worker sees as resident memory, and kills.
        limit = _data_size() + config.memory_limit
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _data_size() -> int:
    """Bytes this process has mapped privately, as RLIMIT_DATA counts them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


class Runner:
    """Runs attempts, one after another.

    Parameters
    ----------
    files
        Which files this process may touch, and where large values go.
    scratch
        Below it each attempt has a directory of its own, made when asked for and removed afterwards.
    """

    def __init__(self, files: Files, scratch: Path) -> None:
        self._files = files
        self._scratch = scratch
        self._leaf = functools.partial(arguments.from_wire, files=files)
        self._pid = os.getpid()

    def run(self, body: bytes) -> wire.Report:
        """Run one task; whatever it raises becomes data."""
        task = decode_task(body)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        scratch = self._scratch / task.task_id
        try:
            with context.attempt(scratch, self._files.local_path):
                value = self._call(task)
                result = codecs.encode(self._hand_over(value, scratch), self._files)
            report = wire.Report(
                task_id=task.task_id,
                status=Status.SUCCEEDED,
                result=result,
                summary=codecs.describe(value),
            )
        except BaseException as error:  # a task may raise anything, SystemExit too: the slot goes on
            report = wire.Report(task_id=task.task_id, status=Status.FAILED, failure=describe(error))
        finally:
            if os.getpid() != self._pid:
                os._exit(0)  # a copy that the task has forked and forgot: the slot's socket isn't its to write to
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError, OSError):  # a task may have closed it
                    stream.flush()
            if scratch.exists():
                shutil.rmtree(scratch, ignore_errors=True)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return msgspec.structs.replace(report, peak_memory=after * 1024) if after > before else report

    def _call(self, task: Task) -> Any:
        operation = registry.get(task.operation)
        args, kwargs = signature.bind(
            operation.spec,
            [codecs.decode(raw, self._files) for raw in task.args],
            {name: codecs.decode(raw, self._files) for name, raw in task.kwargs.items()},
            self._leaf,
        )
        value = operation.function(*args, **kwargs)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

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


def _says_it_all(error: BaseException) -> bool:
    """Whether an error of ours was raised by our own code: what it says is for the user, where it was raised isn't."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, WorkbenchError) and bool(frames) and _is_ours(frames[-1][0].f_code.co_filename)


def _is_ours(filename: str) -> bool:
    return filename.startswith(str(Path(__file__).parent.parent))


_HINTS = {
    "MemoryError": "the slot's memory limit was reached: give the worker a higher --memory-limit, or less data at once",
    "ArrowMemoryError": "the slot's memory limit was reached: give the worker a higher --memory-limit, or less data",
}


def describe(error: BaseException) -> Failure:
    """Turn an exception into data: its name, its text, and the traceback from the operation on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    text = "" if _says_it_all(error) else "".join(traceback.format_exception(type(error), error, frames))
    name = type(error).__name__
    return Failure(type=name, message=_fitting(str(error)), traceback=_fitting(text), hint=_HINTS.get(name, ""))


def _fitting(text: str) -> str:
    """Cut the middle out of a text that is too long for a message, and escape what UTF-8 has no form for."""
    if len(text) > MAX_TRACEBACK:
        text = f"{text[: MAX_TRACEBACK // 2]}\n…\n{text[-MAX_TRACEBACK // 2 :]}"
    return text.encode(errors="backslashreplace").decode()
