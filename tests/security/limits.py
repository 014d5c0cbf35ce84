"""Hostile input is tried in a process of its own, which may take only so much memory: nothing else can suffer."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from workbench.worker import memory

LONGEST = 120.0  # seconds


class Tried:
    """How it went: `raised` or `returned`, the class's name, the text, and the seconds of processor time it took."""

    def __init__(self, printed: str) -> None:
        first, seconds = printed.rstrip("\n").rsplit("\n", 1)
        self.how, self.kind, self.text = first.split("|", 2)
        self.seconds = float(seconds)

    def __repr__(self) -> str:
        return f"{self.how} {self.kind}: {self.text} ({self.seconds:.1f} s)"


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Return the process that forks for each trial: to import what it takes is most of a trial's time."""
    command = [sys.executable, "-m", "tests.security.trials"]
    tuned = os.environ | {"GLIBC_TUNABLES": memory.tunables()}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=tuned)
    atexit.register(_kill, server)
    return server


def _kill(server: subprocess.Popen[str]) -> None:
    """End the process and the trial that it has forked: it leads their group (`worker.preload`)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.kill()


def tried(expression: str, *, megabytes: int = 300, **names: Path) -> Tried:
    """Evaluate an expression with a memory limit, and every name in it that stands for a path.

    A process that dies (of a crash in compiled code, or of `abort`, as C++ and Rust end where memory runs out) fails
    the test, as does one that doesn't end.
    """
    for name, path in names.items():
        expression = expression.replace(name, repr(str(path)))
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    patience = threading.Timer(LONGEST, _kill, [server])
    patience.start()
    server.stdin.write(json.dumps([expression, megabytes]) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    patience.cancel()
    if not answer:
        _server.cache_clear()
    assert answer, f"it didn't end within {LONGEST:g} s"
    code, printed, complained = json.loads(answer)
    assert code == 0, f"the process died ({code}): {complained[-2000:]}"
    return Tried(printed)
