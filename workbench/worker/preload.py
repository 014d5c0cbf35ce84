"""Imported once by the fork server, so that every child starts with the heavy libraries in place, shared and warm."""

import atexit
import contextlib
import os
import signal
from pathlib import Path

# A slot's memory limit counts what is mapped, and Arrow's own allocator maps a gigabyte before it hands out a byte: a
# limit of 1 GB would leave nothing. Arrow reads this as it is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import numpy  # noqa: F401
import pandas  # noqa: F401
import PIL.Image  # noqa: F401
import pyarrow.compute
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet  # noqa: F401

from workbench.operations import registry
from workbench.values import decoders
from workbench.worker import child  # noqa: F401

# A signal for the whole process group, as service managers and batch systems send it, is the worker's to handle: it
# drains, and its slots' fork server has to live on until it has.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
registry.load()
decoders.limit_process()


def _end_slots(server: int = os.getpid()) -> None:
    """Kill the slots' process groups: what tasks have started would go on where the worker was killed."""
    if os.getpid() != server:
        return
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(child), signal.SIGKILL)


# The fork server ends by itself as soon as the worker has, however that died. A slot leads a group of its own
# (`child.main`), so no other process is in it than the task's.
atexit.register(_end_slots)
