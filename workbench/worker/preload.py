"""Imported once by the fork server, so that every child starts with the heavy libraries in place, shared and warm."""

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

registry.load()
PIL.Image.init()
