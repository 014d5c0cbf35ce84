"""What the workers of the soak run besides the package's own operations."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import workbench as wb
from tests.faults.soak_tasks import LARGE, answer


@wb.operation("text.brief")
def brief(number: int, directory: str) -> str:
    """Do next to nothing."""
    _note(directory, number)
    return answer(number)


@wb.operation("text.large")
def large(number: int, directory: str) -> str:
    """Return more than a message takes."""
    _note(directory, number)
    return answer(number) * LARGE


@wb.operation("text.given")
def given(number: int, directory: str, data: bytes) -> str:
    """Take more than a message takes."""
    _note(directory, number)
    return hashlib.sha256(data).hexdigest()


@wb.operation("text.lasting")
def lasting(number: int, directory: str, seconds: float) -> str:
    """Take time, have a file meanwhile, and tell how far it is."""
    _note(directory, number)
    wb.scratch_file("half").write_text("made")
    began = time.monotonic()
    while (spent := time.monotonic() - began) < seconds:
        wb.progress(spent / seconds)
        time.sleep(min(0.2, seconds - spent))
    return answer(number)


@wb.operation("text.flaky")
def flaky(number: int, directory: str, failures: int) -> str:
    """Fail so many times."""
    _note(directory, number)
    if _executions(directory, number) <= failures:
        raise ConnectionError(f"{number} isn't ready yet")
    return answer(number)


@wb.operation("text.crashing")
def crashing(number: int, directory: str, crashes: int) -> str:
    """End the process so many times, with a half-made file left behind."""
    _note(directory, number)
    if _executions(directory, number) <= crashes:
        wb.scratch_file("half").write_text("made")
        os._exit(1)
    return answer(number)


@wb.operation("text.endless")
def endless(number: int, directory: str) -> None:
    """Never end."""
    _note(directory, number)
    while True:
        time.sleep(1)


def _note(directory: str, number: int) -> None:
    """Write an execution down. One short write at the end of a file is whole, whoever else writes."""
    with Path(directory, "journal").open("ab", buffering=0) as journal:
        journal.write(f"{number}\n".encode())


def _executions(directory: str, number: int) -> int:
    """Count this execution; return how many of this task there were."""
    with Path(directory, "marks", str(number)).open("a+b", buffering=0) as mark:
        mark.write(b"\n")
        return mark.tell()
