"""The process that `limits.tried` has its expressions evaluated by: it imports once, and forks for each of them.

A line of JSON with an expression and the megabytes it may take comes in; one with how its process has ended, and what
that has printed, goes out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import workbench.worker.preload  # noqa: F401 - as slots are started
from tests.security.received import read
from workbench.operations import registry
from workbench.values import unpacking
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.worker import memory

# Those of others come from the preload: it says which allocator Arrow takes, and that before Arrow is imported.
NAMES: dict[str, Any] = {name: sys.modules[name] for name in ("numpy", "pandas", "pyarrow")} | {
    "FileRef": FileRef,
    "Files": Files,
    "Path": Path,
    "read": read,
    "registry": registry,
    "unpacking": unpacking,
}


def evaluate(expression: str, megabytes: int) -> None:
    """Print how it went, its class, its text and the seconds of processor time; never return."""
    memory.share_arena()
    memory.limit(megabytes * 2**20)
    started = time.process_time()
    try:
        result = eval(expression, NAMES)
    except Exception as error:
        print("raised", type(error).__name__, str(error)[:2000], sep="|")
    else:
        print("returned", type(result).__name__, repr(result)[:2000], sep="|")
    print(time.process_time() - started, flush=True)
    os._exit(0)  # as slots end: Arrow's threads, which may still read ahead, abort a process that ends in order


def main() -> None:
    """Answer, until nobody asks any more."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complained:
            pid = os.fork()
            if not pid:
                with contextlib.suppress(BaseException):
                    os.dup2(printed.fileno(), 1)
                    os.dup2(complained.fileno(), 2)
                    evaluate(*json.loads(line))
                os._exit(99)
            _, status = os.waitpid(pid, 0)
            printed.seek(0)
            complained.seek(0)
            print(
                json.dumps(
                    [os.waitstatus_to_exitcode(status), *(file.read().decode() for file in (printed, complained))]
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
