"""`workbench demo`: the main job, end to end, on real photographs and flights.

It starts a workbench of its own, does the work, checks every result against what pandas and Pillow say here, writes
the outputs, prints what happened, and shuts everything down.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table

from workbench import samples
from workbench.client.client import Client
from workbench.client.handle import TaskHandle
from workbench.core.rpc import Stats
from workbench.core.states import TaskRecord
from workbench.local.cluster import LocalCluster

if TYPE_CHECKING:
    from PIL.Image import Image

WORKERS = {"image": 1, "data": 1, "convert": 1}
THUMBNAIL = (256, 256)
DELAYS = {"arr_delay": ["mean", "count"], "dep_delay": ["mean"]}
PATIENCE = 120.0


class Step(msgspec.Struct, kw_only=True):
    """One task of the demo: what it was given, what came back, and whether that is right."""

    input: str
    handle: TaskHandle
    check: Callable[[Any], None]  # raises AssertionError where the result is wrong
    save: Callable[[Any], object]
    result: Any = None
    problem: str = ""
    record: TaskRecord | None = None


def main(output: Path, console: Console) -> int:
    """Run the demo; return the exit status: 0 if every result is there and right.

    Parameters
    ----------
    output
        The folder for the pictures and tables; made where it isn't there.
    console
        Where the report goes.
    """
    began = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    flights = samples.flights(output)
    photographs = samples.photographs()
    console.print("Starting RabbitMQ, a tracker and three workers …")
    with LocalCluster(workers=WORKERS) as cluster, cluster.client() as client:
        console.print(f"Ready after {time.perf_counter() - began:.1f} s. Submitting …")
        steps = _submit(client, photographs, flights, output)
        for step in steps:
            _finish(step)
        asyncio.run(_look_up(client, steps))
        stats = asyncio.run(client.stats())
    _report(console, steps, stats, output)
    wrong = sum(1 for step in steps if step.problem)
    console.print(f"Done in {time.perf_counter() - began:.1f} s, shut down included.")
    return 1 if wrong or stats["succeeded"] != len(steps) else 0


def _submit(client: Client, photographs: list[Path], flights: Path, output: Path) -> list[Step]:
    steps = [
        Step(
            input=photograph.name,
            handle=handle,
            check=_fits,
            save=functools.partial(_save_image, output / f"{photograph.stem}-thumbnail.png"),
        )
        for photograph, handle in zip(
            photographs, client.map("image.thumbnail", photographs, size=THUMBNAIL), strict=True
        )
    ]
    names = [photograph.stem for photograph in photographs]
    steps.append(
        Step(
            input=f"{len(photographs)} photographs",
            handle=client.submit("image.contact_sheet", photographs, columns=4, labels=names),
            check=_is_large,
            save=functools.partial(_save_image, output / "contact-sheet.png"),
        )
    )
    steps.append(
        Step(
            input=flights.name,
            handle=client.submit("data.groupby", flights, by="carrier", agg=DELAYS),
            check=lambda frame: _same_delays(frame, flights),
            save=lambda frame: frame.to_csv(output / "delays-by-carrier.csv"),
        )
    )
    steps.append(
        Step(
            input=flights.name,
            handle=client.submit("convert.table", flights, to="parquet"),
            check=lambda ref: _same_flights(ref.path, flights),
            save=lambda ref: ref.save(output / "flights.parquet"),
        )
    )
    return steps


def _save_image(path: Path, image: Image) -> None:
    image.save(path)


def _finish(step: Step) -> None:
    try:
        step.result = step.handle.result(PATIENCE)
        step.check(step.result)
        step.save(step.result)
    except Exception as error:
        step.problem = f"{type(error).__name__}: {error}"


async def _look_up(client: Client, steps: list[Step]) -> None:
    for step in steps:
        step.record = await client.status(step.handle.id)


# --- is it right? ---------------------------------------------------------------------------------


def _fits(image: Image) -> None:
    longest = max(image.size)
    assert longest == max(THUMBNAIL), f"the longer side has {longest} pixels, not {max(THUMBNAIL)}"


def _is_large(image: Image) -> None:
    assert min(image.size) > THUMBNAIL[0], f"a sheet of eight pictures has {image.size} pixels"


def _same_delays(frame: Any, flights: Path) -> None:
    import pandas as pd

    expected = pd.read_csv(flights).groupby("carrier").agg(DELAYS)
    pd.testing.assert_frame_equal(frame, expected)


def _same_flights(parquet: Path, flights: Path) -> None:
    import pandas as pd

    converted = pd.read_parquet(parquet)
    assert len(converted) == samples.FLIGHTS, f"{len(converted):,} rows, not {samples.FLIGHTS:,}"
    numbers = pd.read_csv(flights).select_dtypes("number").sum()
    pd.testing.assert_series_equal(converted[numbers.index].sum(), numbers, check_dtype=False)


# --- what happened --------------------------------------------------------------------------------


def _report(console: Console, steps: list[Step], stats: Stats, output: Path) -> None:
    table = Table(title="What happened", title_justify="left", box=None, pad_edge=False)
    for name in ("operation", "input", "result", "queued", "running", "worker"):
        table.add_column(name, overflow="fold", justify="right" if name in ("queued", "running") else "left")
    for step in steps:
        record = step.record
        table.add_row(
            step.handle.operation,
            step.input,
            f"[red]{step.problem}[/]" if step.problem else record.summary if record else "",
            _seconds(record.seconds_queued if record else None),
            _seconds(record.seconds_running if record else None),
            (record.worker or "") if record else "",
        )
    console.print(table)
    counts = ", ".join(f"{count} {state.value}" for state, count in stats.states.items() if count)
    console.print(f"\nThe tracker counts {stats.total} tasks: {counts}.", highlight=False)
    console.print(f"The pictures and tables are in {output}", highlight=False, soft_wrap=True)


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f} s"
