"""Imported once by the fork server, so that every child starts with the heavy libraries in place, shared and warm."""

import signal

import numpy  # noqa: F401
import pandas  # noqa: F401
import PIL.Image
import pyarrow.compute
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet  # noqa: F401

from workbench.operations import registry
from workbench.worker import child  # noqa: F401

# A signal for the whole process group, as service managers and batch systems send it, is the worker's to handle: it
# drains, and its slots' fork server has to live on until it has.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
registry.load()
PIL.Image.init()
