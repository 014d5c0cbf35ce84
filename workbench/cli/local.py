"""Commands for a workbench on this machine: up, down, status, demo, doctor."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.common import Directory, Include, import_from_here, log, out, print_table, say
from workbench.cli.main import app
from workbench.core.rpc import WorkerRecord
from workbench.core.settings import RunningState, Settings, default_directory
from workbench.dashboard.ports import free_port


@app.command(rich_help_panel="A workbench on this machine")
def up(
    directory: Directory = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is up; it goes on by itself.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes for each family.")] = 1,
    slots: Annotated[int, typer.Option(min=1, help="Tasks each of them runs at once.")] = 2,
    include: Include = None,
    dashboard: Annotated[
        int, typer.Option(min=0, max=65535, help="The dashboard's port, or the next free one; 0 for no dashboard.")
    ] = 5006,
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

    log(quiet=True)
    import_from_here()
    registry.load(include or ())
    control.up(
        directory,
        workers=dict.fromkeys(registry.families(), workers),
        slots=slots,
        include=tuple(include or ()),
        roots=root,
        dashboard=_dashboard_port(dashboard),
        detach=detach,
        on_ready=lambda state: _welcome(state, directory, detach),
    )


def _dashboard_port(wanted: int) -> int:
    """Return where the dashboard can be served; 0 where that isn't wanted, or Panel isn't installed."""
    if not wanted or importlib.util.find_spec("panel") is None:
        return 0
    return free_port("127.0.0.1", wanted)


def _welcome(state: RunningState, directory: Path | None, detached: bool) -> None:
    option = f" --directory {directory}" if directory else ""
    say(f"A workbench is running in {(directory or default_directory()).absolute()}.")
    say(f"  in a notebook   import workbench as wb; client = wb.Client({_where(directory)})")
    say(f"  elsewhere       export WORKBENCH_BROKER_URL={state.settings.broker_url}")
    say(f"  look            {state.dashboard or f'workbench status{option}'}")
    say(f"  stop            {f'workbench down{option}' if detached else 'Ctrl-C'}")


def _where(directory: Path | None) -> str:
    return f"directory={str(directory.absolute())!r}" if directory else ""


@app.command(rich_help_panel="A workbench on this machine")
def down(directory: Directory = None) -> None:
    """Stop a workbench. What it had not done stays on its queues until the next `up`."""
    from workbench.local import control

    where = (directory or default_directory()).absolute()
    if control.down(where):
        say(f"The workbench in {where} is down. Its tasks and results are kept.")
    else:
        say(f"No workbench is running in {where}.")


@app.command(rich_help_panel="A workbench on this machine")
def resume(directory: Directory = None) -> None:
    """Start the workers again that have been drained."""
    from workbench.local import control

    names = control.resume(directory)
    say(f"Starting again: {', '.join(names)}." if names else "No worker has been drained.")


@app.command(rich_help_panel="A workbench on this machine")
def status(directory: Directory = None) -> None:
    """Tell whether a workbench is running, with its processes, workers and tasks."""
    from workbench.local import control

    where = (directory or default_directory()).absolute()
    found = control.status(where)
    if found is None:
        say(f"No workbench is running in {where}. Start one: workbench up --detach")
        raise typer.Exit(1)
    say(f"A workbench is running in {where} (pid {found.pid}).")
    if found.dashboard:
        say(f"Its dashboard is at {found.dashboard}")
    processes = {name: str(pid) for name, pid in found.processes.items()} | dict.fromkeys(found.drained, "drained")
    print_table(("process", "pid"), list(processes.items()))
    if found.drained:
        say("Start what has been drained again: workbench resume")
    _print_facts(found.settings)


def _print_facts(settings: Settings) -> None:
    from workbench.client.client import Client

    async def ask(client: Client) -> tuple[Any, Any]:
        return await client.workbench(), await client.stats()

    with Client(settings=settings) as client:
        facts, stats = asyncio.run(ask(client))
    print_table(
        ("worker", "host", "families", "slots", "busy", "done", "state"), [_worker_row(each) for each in facts.workers]
    )
    counts = ", ".join(f"{count} {state}" for state, count in stats.states.items() if count) or "none"
    say(f"tasks: {counts}")


def _worker_row(worker: WorkerRecord) -> tuple[str, ...]:
    families = ", ".join(worker.families) + (f" ({worker.lane})" if worker.lane else "")
    numbers = map(str, (worker.slots, worker.busy, worker.done))
    return (worker.worker, worker.host, families, *numbers, "online" if worker.online else "offline")


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
