"""Imported once by the fork server, so that every child starts with the heavy libraries in place, shared and warm."""

import atexit
import contextlib
import os
import signal
from pathlib import Path

from workbench.worker import memory

# Before the libraries that read it.
os.environ.update({name: value for name, value in memory.ALLOCATORS.items() if name not in os.environ})

# What a slot would else import with its first task of a kind, again after each recycling. Beside pandas and the rest of
# Arrow, in ms of CPU and MB resident (which slots share with the server until they write to them): orc 2 and 0.2,
# dataset 12 and 4, xlsxwriter 24 and 2, python_calamine 3 and 1, duckdb 70 and 15. Left out, as charts alone need them:
# matplotlib, 430 and 25, and bokeh, 550 and 19.
import duckdb  # noqa: F401
import numpy  # noqa: F401
import pandas  # noqa: F401
import PIL.Image  # noqa: F401
import pyarrow.compute
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.json
import pyarrow.orc
import pyarrow.parquet  # noqa: F401
import python_calamine  # noqa: F401
import xlsxwriter  # noqa: F401

from workbench.operations import registry
from workbench.values import decoders
from workbench.worker import child  # noqa: F401

# The worker's supervisor kills a dead worker's process group. The fork server lives on for a moment after that, to end
# what its slots have started. Service managers signal it all the same; it goes on until the worker has drained.
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
registry.load()
decoders.limit_process()


def _end_slots(server: int = os.getpid()) -> None:
    """Kill the slots' process groups: what tasks have started would go on where the worker was killed."""
    if os.getpid() != server:
        return
    children = Path(f"/proc/self/task/{server}/children")
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        while slots := children.read_text().split():  # one that ends meanwhile can hide another: until there is none
            for slot in map(int, slots):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(slot, signal.SIGKILL)  # it may not lead its group yet
                    os.killpg(slot, signal.SIGKILL)
                os.waitpid(slot, 0)


# The fork server ends by itself as soon as the worker has, however that died. A slot leads a group of its own
# (`child.main`), so no other process is in it than the task's.
atexit.register(_end_slots)
