"""Hostile input is tried in a process of its own, which may take only so much memory: nothing else can suffer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, resource, sys, time
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # as slots have it
from pathlib import Path
import numpy, pandas, pyarrow, pyarrow.csv, pyarrow.feather, pyarrow.json, pyarrow.orc, pyarrow.parquet
from workbench.operations import registry
from workbench.values import tables
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.worker.child import _data_size

registry.load()
limit = _data_size() + {megabytes} * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
started = time.process_time()
try:
    result = {expression}
except Exception as error:
    print("raised", type(error).__name__, str(error)[:2000], sep="|")
else:
    print("returned", type(result).__name__, repr(result)[:2000], sep="|")
print(time.process_time() - started)
"""


class Tried:
    """How it went: `raised` or `returned`, the class's name, the text, and the seconds of processor time it took."""

    def __init__(self, printed: str) -> None:
        first, seconds = printed.rstrip("\n").rsplit("\n", 1)
        self.how, self.kind, self.text = first.split("|", 2)
        self.seconds = float(seconds)

    def __repr__(self) -> str:
        return f"{self.how} {self.kind}: {self.text} ({self.seconds:.1f} s)"


def tried(expression: str, *, megabytes: int = 300, **names: Path) -> Tried:
    """Evaluate an expression with a memory limit, and every name in it that stands for a path.

    A process that dies (of a crash in compiled code, or of `abort`, as C++ and Rust end where memory runs out) fails
    the test.
    """
    for name, path in names.items():
        expression = expression.replace(name, repr(str(path)))
    program = _PROGRAM.format(megabytes=megabytes, expression=expression)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"the process died ({done.returncode}): {done.stderr[-2000:]}"
    return Tried(done.stdout)
