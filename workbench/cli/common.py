"""What the commands share: options, where they print, how they find a workbench, how they read sizes and times."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.core.settings import Settings, default_directory
from workbench.core.texts import plain

if TYPE_CHECKING:
    from workbench.client.client import Client

T = TypeVar("T")

out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True)

Directory = Annotated[
    Path | None,
    typer.Option(help="Where the workbench keeps its data.", show_default=str(default_directory())),
]
Url = Annotated[
    str | None,
    typer.Option(envvar="WORKBENCH_BROKER_URL", help="The broker: amqp://user:password@host:5672/", show_default=False),
]
Include = Annotated[list[str] | None, typer.Option(help="A module with operations of your own; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]


def settings_of(url: str | None, directory: Path | None) -> Settings:
    """Return the settings of the workbench in a directory if that is named, else of the broker's address."""
    return Settings.load(None if directory else url, directory=directory)


def say(text: str) -> None:
    """Print a line as it is: no markup, no colours, no breaks."""
    out.print(plain(text), highlight=False, markup=False, soft_wrap=True)


def ask(url: str | None, directory: Path | None, question: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """Connect, ask, and close."""
    from workbench.client.client import Client

    with Client(settings=settings_of(url, directory)) as client:
        return asyncio.run(question(client))


def print_json(value: object) -> None:
    """Print anything of ours as JSON: times in ISO form, bytes in base64."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table without lines; ids are never broken."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in ("task", "message"), overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    out.print(table)


def time_text(at: datetime | None) -> str:
    """Return a time as people read it, in UTC; empty where there is none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """Read a number of bytes as people write it: 512MiB, 2G, 1073741824."""
    number = text.strip().rstrip("iBb").rstrip("KMGTkmgt")
    unit = text.strip()[len(number) :].upper().replace("IB", "").removesuffix("B")
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        size = 0
    if size <= 0:
        raise typer.BadParameter(f"{text!r} is not a size; write it like 512MiB or 2GiB")
    return size


_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Read seconds as people write them: 90, 90s, 55m, 12h, 2d."""
    written = text.strip().lower()
    number = written.rstrip("smhd")
    try:
        seconds = float(number) * _SECONDS[written[len(number) :]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise typer.BadParameter(f"{text!r} is not a time; write it like 90, 55m or 12h")
    return seconds


def seconds_text(value: float | None) -> str:
    """Return seconds as people read them; empty where there are none."""
    return "" if value is None else f"{value:.3f} s"


def log(*, quiet: bool = False) -> None:
    """Log to the standard error: as much as `WORKBENCH_LOG` says."""
    level = os.environ.get("WORKBENCH_LOG", "WARNING" if quiet else "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def import_from_here() -> None:
    """Let `--include` find modules in the current directory, as `python -m` would, in this process and its children."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = here if not known else os.pathsep.join([here, known])
