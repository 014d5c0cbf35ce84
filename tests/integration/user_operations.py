"""Operations that tests run in real workers: some do their work, some misbehave in every way a user's may."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import workbench as wb


@wb.operation("text.wordcount")
def wordcount(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


@wb.operation("text.file")
def file(name: str, text: str) -> Path:
    """Write a text to a file."""
    path = wb.scratch_file(name)
    path.write_text(text)
    return path


@wb.operation("text.echo")
def echo(value):
    """Return the value."""
    return value


@wb.operation("text.sleep")
def sleep(seconds: float) -> str:
    """Sleep, then say so."""
    time.sleep(seconds)
    return f"slept {seconds:g} s"


@wb.operation("text.mark")
def mark(directory: str, number: int, seconds: float = 0.0) -> int:
    """Leave a file for each execution, so that they can be counted."""
    with Path(directory, f"{number}").open("a") as marks:
        marks.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return number


@wb.operation("bad.raises")
def raises(message: str) -> None:
    """Raise."""
    raise ValueError(message)


@wb.operation("bad.unserialisable")
def unserialisable() -> object:
    """Return what can't travel."""
    return object()


@wb.operation("bad.exits")
def exits(status: int) -> None:
    """End the process."""
    print("before the end", flush=True)
    os._exit(status)


@wb.operation("bad.sysexit")
def sysexit() -> None:
    """Raise SystemExit."""
    sys.exit(3)


@wb.operation("bad.segfaults")
def segfaults() -> None:
    """Crash in C."""
    ctypes.string_at(0)


@wb.operation("bad.killed")
def killed() -> None:
    """Be killed, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@wb.operation("bad.stuck", timeout=0.5)
def stuck() -> None:
    """Hang in C code that lets no signal handler run, with signals blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.CDLL(None).sleep(60)


@wb.operation("bad.hungry")
def hungry(mebibytes: int) -> int:
    """Use memory."""
    block = bytearray(mebibytes * 2**20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    time.sleep(5)
    return len(block)


@wb.operation("bad.talks")
def talks(lines: int) -> int:
    """Print, log, and write to file descriptor 2 as C code does."""
    for number in range(lines):
        print(f"line {number}")
    logging.getLogger("talks").warning("a warning")
    os.write(2, b"from below\n")
    return os.getpid()


@wb.operation("bad.flaky")
def flaky(directory: str) -> int:
    """Fail the first time, succeed the second."""
    attempts = Path(directory, "attempts")
    count = len(attempts.read_text()) + 1 if attempts.exists() else 1
    attempts.write_text("x" * count)
    if count == 1:
        raise OSError("the file server is away")
    return count


@wb.operation("bad.forks")
def forks() -> str:
    """Fork, and let the copy return later than the original."""
    if os.fork() == 0:
        time.sleep(0.5)
        return "the copy's result"
    return "the original's result"


@wb.operation("bad.leaves")
def leaves(marks: str, seconds: float) -> int:
    """Start a process that outlives the task."""
    left = subprocess.Popen(["sleep", "600"])
    Path(marks).write_text(str(left.pid))
    time.sleep(seconds)
    os._exit(1)


@wb.operation("text.size")
def size(path: Path, others: list[Path] | None = None) -> int:
    """Return the length of files together."""
    return sum(len(one.read_text()) for one in [path, *(others or [])])
