"""The `workbench` command: start and stop a workbench, run its parts, look at its tasks.

Each command reads its options, calls what does the work, and prints. Errors of ours end it with one clear message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from workbench import __version__
from workbench.core.errors import WorkbenchError
from workbench.core.settings import RunningState, Settings, default_directory

app = typer.Typer(
    add_completion=False,
    name="workbench",
    help="Submit work from a notebook; real workers do it over RabbitMQ; real objects come back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
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


def main() -> None:
    """Run the command line."""
    try:
        app()
    except WorkbenchError as error:
        err.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        err.print(str(error), markup=False, highlight=False)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        _say(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


# --- a workbench on this machine ------------------------------------------------------------------


@app.command(rich_help_panel="A workbench on this machine")
def up(
    directory: Directory = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is up; it goes on by itself.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes for each family.")] = 1,
    slots: Annotated[int, typer.Option(min=1, help="Tasks each of them runs at once.")] = 2,
    include: Include = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            help="A directory notebooks and workers share; by default the current one.", exists=True, file_okay=False
        ),
    ] = None,
) -> None:
    """Start a private broker, a tracker and workers, and keep them running."""
    from workbench.local import control
    from workbench.operations import registry

    _log(quiet=True)
    _import_from_here()
    registry.load(include or ())
    control.up(
        directory,
        workers=dict.fromkeys(registry.families(), workers),
        slots=slots,
        include=tuple(include or ()),
        roots=root,
        detach=detach,
        on_ready=lambda state: _welcome(state, directory, detach),
    )


def _welcome(state: RunningState, directory: Path | None, detached: bool) -> None:
    option = f" --directory {directory}" if directory else ""
    _say(f"A workbench is running in {(directory or default_directory()).absolute()}.")
    _say(f"  in a notebook   import workbench as wb; client = wb.Client({_where(directory)})")
    _say(f"  elsewhere       export WORKBENCH_BROKER_URL={state.settings.broker_url}")
    _say(f"  look            workbench status{option}")
    _say(f"  stop            {f'workbench down{option}' if detached else 'Ctrl-C'}")


def _where(directory: Path | None) -> str:
    return f"directory={str(directory.absolute())!r}" if directory else ""


@app.command(rich_help_panel="A workbench on this machine")
def down(directory: Directory = None) -> None:
    """Stop a workbench. What it had not done stays on its queues until the next `up`."""
    from workbench.local import control

    where = (directory or default_directory()).absolute()
    if control.down(where):
        _say(f"The workbench in {where} is down. Its tasks and results are kept.")
    else:
        _say(f"No workbench is running in {where}.")


@app.command(rich_help_panel="A workbench on this machine")
def status(directory: Directory = None) -> None:
    """Tell whether a workbench is running, with its processes, workers and tasks."""
    from workbench.local import control

    where = (directory or default_directory()).absolute()
    found = control.status(where)
    if found is None:
        _say(f"No workbench is running in {where}. Start one: workbench up --detach")
        raise typer.Exit(1)
    _say(f"A workbench is running in {where} (pid {found.pid}).")
    table = Table("process", "pid", box=None, pad_edge=False)
    for name, pid in found.processes.items():
        table.add_row(name, str(pid))
    out.print(table)
    _print_facts(found.settings)


def _print_facts(settings: Settings) -> None:
    from workbench.client.client import Client

    async def ask(client: Client) -> tuple[Any, Any]:
        return await client.workbench(), await client.stats()

    with Client(settings=settings) as client:
        facts, stats = asyncio.run(ask(client))
    table = Table("worker", "host", "families", "slots", "busy", "done", "state", box=None, pad_edge=False)
    for worker in facts.workers:
        state = "online" if worker.online else "offline"
        families = ", ".join(worker.families) + (f" ({worker.lane})" if worker.lane else "")
        table.add_row(worker.worker, worker.host, families, *map(str, (worker.slots, worker.busy, worker.done)), state)
    out.print(table)
    counts = ", ".join(f"{count} {state}" for state, count in stats.states.items() if count) or "none"
    _say(f"tasks: {counts}")


@app.command(rich_help_panel="A workbench on this machine")
def demo(
    output: Annotated[Path, typer.Option(help="Where its pictures and tables go.", file_okay=False)] = Path(
        "workbench-demo"
    ),
) -> None:
    """Run the main job on real photographs and flights, in a workbench of its own."""
    from workbench import demo as program

    raise typer.Exit(program.main(output.absolute(), out))


@app.command(rich_help_panel="A workbench on this machine")
def doctor() -> None:
    """Say what is installed, what is missing, and how to get it."""
    from workbench import doctor as program

    raise typer.Exit(program.main())


# --- its parts, one by one ------------------------------------------------------------------------


@app.command(rich_help_panel="Its parts, on any machine")
def worker(
    families: Annotated[
        list[str] | None, typer.Argument(help="Whose tasks it takes; by default those of all its operations.")
    ] = None,
    url: Url = None,
    directory: Directory = None,
    slots: Annotated[int, typer.Option(min=1, help="How many tasks run at once, each in its own process.")] = 2,
    include: Include = None,
    lane: Annotated[str | None, typer.Option(help="Take this lane's tasks instead.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="What one slot may use, such as 512MiB or 2GiB; by default no limit.")
    ] = None,
    recycle_after: Annotated[
        int | None, typer.Option(min=1, help="Replace a slot's process after so many tasks.")
    ] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds running tasks have to end on SIGTERM.")] = 60.0,
    name: Annotated[str | None, typer.Option(help="How it is called; by default the host and a random part.")] = None,
) -> None:
    """Take tasks from the queues of these families and run them. SIGTERM drains it."""
    from workbench.worker import run
    from workbench.worker.service import Options

    _log()
    _import_from_here()
    options = Options(
        families=tuple(families) if families else None,
        include=tuple(include or ()),
        lane=lane,
        slots=slots,
        memory_limit=None if memory_limit is None else parse_size(memory_limit),
        recycle_after=recycle_after,
        grace=grace,
        name=name,
    )
    run.run(_settings(url, directory), options)


@app.command(rich_help_panel="Its parts, on any machine")
def tracker(url: Url = None, directory: Directory = None) -> None:
    """Record what happens to tasks, and answer who asks. One is active at a time; others stand by."""
    from workbench.tracker import service

    _log()
    asyncio.run(service.run(_settings(url, directory)))


@app.command(rich_help_panel="Its tasks")
def tasks(
    url: Url = None,
    directory: Directory = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only those of this operation.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, newest first.")] = 20,
) -> None:
    """List tasks, newest first."""
    from workbench.client.client import Client

    with Client(settings=_settings(url, directory)) as client:
        records = asyncio.run(client.tasks(state=state, operation=operation, limit=limit))
    table = Table(box=None, pad_edge=False)
    for column in ("task", "operation", "state", "attempt", "worker", "queued", "running", "result"):
        table.add_column(column, no_wrap=column == "task", overflow="fold")
    for record in records:
        said = record.failure.type if record.failure else record.summary
        table.add_row(
            record.task_id,
            record.operation,
            record.state.value,
            str(record.attempt),
            record.worker or "",
            _seconds(record.seconds_queued),
            _seconds(record.seconds_running),
            said,
        )
    out.print(table)


def _settings(url: str | None, directory: Path | None) -> Settings:
    """Return the settings of the workbench in a directory if that is named, else of the broker's address."""
    return Settings.load(None if directory else url, directory=directory)


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


# --- small things ---------------------------------------------------------------------------------

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


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"


def _log(*, quiet: bool = False) -> None:
    level = os.environ.get("WORKBENCH_LOG", "WARNING" if quiet else "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _import_from_here() -> None:
    """Let `--include` find modules in the current directory, as `python -m` would, in this process and its children."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = here if not known else os.pathsep.join([here, known])
