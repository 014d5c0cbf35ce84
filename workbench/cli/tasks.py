"""Commands that look at tasks and change what becomes of them: tasks, show, why, cancel, pin, unpin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.common import (
    Directory,
    Json,
    Url,
    ask,
    out,
    print_json,
    print_table,
    say,
    seconds_text,
    time_text,
)
from workbench.cli.main import app
from workbench.core.rpc import AttemptRecord
from workbench.core.states import State, TaskRecord

if TYPE_CHECKING:
    from workbench.client.client import Client

PANEL = "Its tasks"
Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="The tasks' ids.", show_default=False)]


@app.command(rich_help_panel=PANEL)
def tasks(
    url: Url = None,
    directory: Directory = None,
    state: Annotated[str | None, typer.Option(help=f"Only those in this state: {', '.join(State)}.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only those of this operation.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List tasks, newest first."""
    records = ask(url, directory, lambda client: client.tasks(state=state, operation=operation, limit=limit))
    if as_json:
        print_json(records)
        return
    print_table(
        ("task", "operation", "state", "attempt", "worker", "queued", "running", "result"),
        [
            (
                record.task_id,
                record.operation,
                record.state.value,
                str(record.attempt),
                record.worker or "",
                seconds_text(record.seconds_queued),
                seconds_text(record.seconds_running),
                _news(record),
            )
            for record in records
        ],
    )


@app.command(rich_help_panel=PANEL)
def show(task_id: Id, url: Url = None, directory: Directory = None, as_json: Json = False) -> None:
    """Show what is known of a task, and each of its attempts."""

    async def both(client: Client) -> tuple[TaskRecord, list[AttemptRecord]]:
        return await client.status(task_id), await client.attempts(task_id)

    record, attempts = ask(url, directory, both)
    if as_json:
        print_json({"record": record, "attempts": attempts})
        return
    _print_record(record)
    if attempts:
        say("")
        print_table(
            ("attempt", "worker", "started", "ended", "how", "peak memory", "signal"),
            [_attempt_row(attempt) for attempt in attempts],
        )
    for attempt in attempts:
        _print_said(attempt)


@app.command(rich_help_panel=PANEL)
def why(task_id: Id, url: Url = None, directory: Directory = None) -> None:
    """Say in one sentence why a task isn't done."""
    say(ask(url, directory, lambda client: client.why(task_id)))


@app.command(rich_help_panel=PANEL)
def cancel(
    task_ids: Ids,
    url: Url = None,
    directory: Directory = None,
    reason: Annotated[str, typer.Option(help="What the tasks' records say.")] = "",
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for their end; the intents stay.")] = 30.0,
) -> None:
    """End tasks, wherever they are. Exits with 1 where one hasn't ended as cancelled."""
    told = ask(url, directory, lambda client: client.cancel(list(task_ids), reason=reason, timeout=timeout))
    for each in told:
        say(f"{each.task_id}: {each.sentence}")
    if not all(each.cancelled for each in told):
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def pin(task_ids: Ids, url: Url = None, directory: Directory = None) -> None:
    """Keep the results of tasks beyond their retention time."""
    pinned = ask(url, directory, lambda client: client.pin(list(task_ids)))
    say(f"{len(pinned)} pinned: their results are kept until they are unpinned.")


@app.command(rich_help_panel=PANEL)
def unpin(task_ids: Ids, url: Url = None, directory: Directory = None) -> None:
    """Let the results of tasks go after their retention time again."""
    unpinned = ask(url, directory, lambda client: client.unpin(list(task_ids)))
    say(f"{len(unpinned)} unpinned: their results go after their retention time.")


def _news(record: TaskRecord) -> str:
    """Say what is worth knowing of a task in a few words."""
    if record.state is State.RETRYING:
        failed = record.failure.type if record.failure else "a failure"
        return f"again at {time_text(record.retry_at)}, after {failed}" if record.retry_at else f"again, after {failed}"
    if record.state is State.RUNNING and record.progress is not None and record.progress.attempt == record.attempt:
        return f"{record.progress.fraction:.0%} {record.progress.message}".rstrip()
    if not record.state.terminal and record.cancel_at is not None:
        return "to be cancelled"
    return record.failure.type if record.failure else record.summary


def _print_record(record: TaskRecord) -> None:
    rows = [
        ("task", record.task_id),
        ("operation", record.operation),
        ("state", record.state.value + (", to be cancelled" if record.cancel_at and not record.state.terminal else "")),
        ("attempt", str(record.attempt)),
        ("sent again", f"{record.replay} times" if record.replay else ""),
        ("worker", record.worker or ""),
        ("client", record.client),
        ("lane", record.lane or ""),
        ("submitted", time_text(record.submitted_at)),
        ("started", time_text(record.started_at)),
        ("ended", time_text(record.finished_at)),
        ("next attempt", time_text(record.retry_at)),
        ("expires", time_text(record.expires_at)),
        ("deadline", time_text(record.deadline_at)),
        ("cancelled", f"{time_text(record.cancel_at)} {record.cancel_reason}".strip()),
        ("progress", f"{record.progress.fraction:.0%} {record.progress.message}" if record.progress else ""),
        ("result", record.summary),
        ("failure", str(record.failure) if record.failure else ""),
    ]
    for name, value in rows:
        if value:
            say(f"{name:<13}{value}")


def _attempt_row(attempt: AttemptRecord) -> tuple[str, ...]:
    end = attempt.outcome
    how = end.status.value if end else "lost with its worker" if attempt.lost_at else "running"
    if end is not None and end.failure is not None:
        how = f"{how}: {end.failure.type}: {end.failure.message}"
    return (
        str(attempt.attempt),
        attempt.worker,
        time_text(attempt.started_at),
        time_text(attempt.finished_at or attempt.lost_at),
        how,
        f"{end.peak_memory / 2**20:,.0f} MiB" if end is not None and end.peak_memory is not None else "",
        str(end.exit_signal) if end is not None and end.exit_signal is not None else "",
    )


def _print_said(attempt: AttemptRecord) -> None:
    end = attempt.outcome
    if end is None:
        return
    traceback = end.failure.traceback if end.failure else ""
    for title, text in (("traceback", traceback), ("output", end.output)):
        if text.strip():
            out.rule(f"attempt {attempt.attempt}: {title}", align="left", style="dim")
            say(text.rstrip())
