"""Commands that run one part of a workbench, on any machine: a worker, a tracker."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from workbench.cli.common import (
    Directory,
    Include,
    Url,
    import_from_here,
    log,
    parse_duration,
    parse_size,
    settings_of,
)
from workbench.cli.main import app
from workbench.metrics import LOOPBACK

MetricsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Serve metrics for Prometheus on this port; by default none.")
]
MetricsAddress = Annotated[str, typer.Option(help="Where to listen for it: 0.0.0.0 for all networks.")]


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
    max_runtime: Annotated[
        str | None, typer.Option(help="Drain and end after this time, such as 55m or 12h: a batch job's own limit.")
    ] = None,
    idle_exit: Annotated[
        str | None, typer.Option(help="End once nothing was to do for this time, such as 90 (seconds) or 10m.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="How it is called; by default the host and a random part.")] = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = LOOPBACK,
) -> None:
    """Take tasks from the queues of these families and run them. SIGTERM drains it."""
    from workbench.worker import run
    from workbench.worker.options import Options

    log()
    import_from_here()
    options = Options(
        families=tuple(families) if families else None,
        include=tuple(include or ()),
        lane=lane,
        slots=slots,
        memory_limit=None if memory_limit is None else parse_size(memory_limit),
        recycle_after=recycle_after,
        grace=grace,
        name=name,
        metrics=None if metrics_port is None else (metrics_address, metrics_port),
        max_runtime=None if max_runtime is None else parse_duration(max_runtime),
        idle_exit=None if idle_exit is None else parse_duration(idle_exit),
    )
    run.run(settings_of(url, directory), options)


@app.command(rich_help_panel="Its parts, on any machine")
def tracker(
    url: Url = None,
    directory: Directory = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = LOOPBACK,
) -> None:
    """Record what happens to tasks, and answer who asks. One is active at a time; others stand by."""
    from workbench.tracker import run

    log()
    measured_at = None if metrics_port is None else (metrics_address, metrics_port)
    asyncio.run(run.run(settings_of(url, directory), measured_at=measured_at))
