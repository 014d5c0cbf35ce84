"""Operations that tests run in real workers: some do their work, some misbehave in every way a user's may."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np

import workbench as wb
from workbench.operations import context


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


@wb.operation("text.number")
def number(number: int, directory: str) -> int:
    """Leave a file as `text.mark` does; the number comes first, as `map` has it."""
    return mark(directory, number)


@wb.operation("text.stumble")
def stumble(directory: str, number: int, seconds: float, stone: str) -> int:
    """Do as `text.mark` does, and fail where a stone lies in the way."""
    mark(directory, number, seconds)
    if Path(stone).exists():
        raise OSError("stumbled")
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
def leaves(marks: str, seconds: float, then: Literal["dies", "returns"] = "dies") -> int:
    """Start a process that outlives the task."""
    left = subprocess.Popen(["sleep", "600"])
    Path(marks).write_text(str(left.pid))
    time.sleep(seconds)
    if then == "dies":
        os._exit(1)
    return 1


@wb.operation("text.size")
def size(path: Path, others: list[Path] | None = None) -> int:
    """Return the length of files together."""
    return sum(len(one.read_text()) for one in [path, *(others or [])])


# --- what limits, orders and policies are tried on -------------------------------------------------


@wb.operation("bad.tidies")
def tidies(directory: str, seconds: float = 60.0) -> str:
    """Sleep, and leave a mark of how it was woken: what `except Exception` catches, and what `finally` sees."""
    try:
        time.sleep(seconds)
    except Exception as error:
        Path(directory, "caught").write_text(type(error).__name__)
        raise
    finally:
        Path(directory, "tidied").write_text("yes")
    return "slept"


@wb.operation("bad.stubborn")
def stubborn(seconds: float = 60.0) -> str:
    """Swallow whatever comes, and go on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except BaseException as error:
            print(f"swallowed {type(error).__name__}", flush=True)
    return "slept"


@wb.operation("bad.awaits")
async def awaits(directory: str, seconds: float = 60.0) -> str:
    """Sleep in a coroutine, and leave a mark of how it was woken."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        Path(directory, "cancelled").write_text("yes")  # noqa: ASYNC240 - it is over
        raise
    return "slept"


@wb.operation("bad.child")
def child(directory: str) -> int:
    """Wait for a process of its own, which a signal to the slot must not reach."""
    process = subprocess.Popen(["sleep", "60"])
    Path(directory, "child").write_text(str(process.pid))
    try:
        return process.wait()
    except BaseException:
        Path(directory, "alive").write_text(str(process.poll() is None))
        process.kill()
        raise


@wb.operation("bad.retries")
def retries(directory: str, delay: float | None = None) -> int:
    """Ask for another attempt the first two times."""
    count = len(list(Path(directory).glob("attempt-*")))
    Path(directory, f"attempt-{count}").touch()
    if count < 2:
        raise wb.Retry(f"attempt {count} isn't enough", delay=delay)
    return count


@wb.operation("bad.rejects")
def rejects(reason: str) -> None:
    """Reject the task."""
    raise wb.Reject(reason)


@wb.operation("bad.loses")
def loses(number: int) -> None:
    """Fail as the operating system does, with this errno."""
    raise OSError(number, os.strerror(number))


@wb.operation("bad.tells")
def tells(steps: int, seconds: float = 0.0) -> int:
    """Tell its progress, from this thread and from another; note something."""
    for step in range(steps):
        wb.progress(step / steps, f"step {step}")
        time.sleep(seconds)
    thread = threading.Thread(target=wb.progress, args=(1.0, "done"))
    thread.start()
    thread.join()
    context.note("engine", "hand")
    return steps


@wb.operation("bad.says")
def says(what: str) -> str:
    """Say what has no form in UTF-8, or isn't text at all."""
    for each in ("bad \udcff name", Path("p"), 17, None):
        wb.progress(1.0 if each == what else 0.0, each)
        context.note("said", each)
    return what


@wb.operation("bad.asks")
def asks(kind: str) -> None:
    """Ask for another attempt, with a number of this kind for the time."""
    raise wb.Retry(delay={"numpy": np.float32(0.25), "decimal": Decimal("0.25"), "int": 0}[kind])


@wb.operation("bad.speechless")
def speechless() -> None:
    """Raise what can't be turned into text."""

    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise SpeechlessError


@wb.operation("bad.deaf")
def deaf() -> None:
    """Ignore SIGTERM, and leave it at that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@wb.operation("bad.allocates")
def allocates(mebibytes: int) -> int:
    """Use memory for a moment."""
    block = bytearray(mebibytes * 2**20)
    block[:: os.sysconf("SC_PAGE_SIZE")] = b"1" * len(block[:: os.sysconf("SC_PAGE_SIZE")])
    return len(block)


@wb.operation("bad.scatters")
def scatters(mebibytes: int) -> int:
    """Use memory for a moment, of which the last piece stays, so that what was before it stays with the allocator."""
    blocks = [b"1" * 2**16 for _ in range(16 * mebibytes)]
    _KEPT.append(blocks[-1])
    return len(blocks)


_KEPT: list[bytes] = []

# --- what a slot has from the start ---------------------------------------------------------------


@wb.operation("text.environment")
def environment(name: str) -> str:
    """Return what this process began with in an environment variable."""
    began = Path("/proc/self/environ").read_bytes().split(b"\0")  # the fork server's, which glibc has read
    return next((each.decode() for each in began if each.startswith(name.encode() + b"=")), "").partition("=")[2]


@wb.operation("text.loaded")
def loaded(names: list[str]) -> list[str]:
    """Return those of these modules that are loaded already."""
    return [name for name in names if name in sys.modules]


@wb.operation("text.fonts")
def fonts() -> list[str]:
    """Return where Matplotlib keeps what it knows of fonts, and when it last looked for them."""
    import matplotlib as mpl
    from matplotlib import font_manager  # noqa: F401 - which reads, or searches, the fonts

    (found,) = Path(mpl.get_cachedir()).glob("fontlist*.json")
    return [str(found), str(found.stat().st_mtime_ns)]
