"""Rich forms in a notebook, registered with IPython by name: our objects know nothing of screens, nothing loads early.

All text that comes from tasks is escaped. A state is told by a word and a sign, not by colour alone.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from workbench.core.states import State

if TYPE_CHECKING:
    from workbench.client.group import TaskGroup
    from workbench.client.handle import TaskHandle
    from workbench.core.rpc import Stats, Workbench
    from workbench.core.states import TaskRecord
    from workbench.values.refs import FileRef

_SIGNS = {
    State.SCHEDULED: "◷",
    State.QUEUED: "…",
    State.RUNNING: "▶",
    State.RETRYING: "↻",
    State.SUCCEEDED: "✓",
    State.FAILED: "✗",
    State.CANCELLED: "⊘",
    State.EXPIRED: "⌛",
}


def register(shell: Any) -> None:
    """Teach an IPython shell the rich forms of our objects."""
    formatter = shell.display_formatter.formatters["text/html"]
    for module, name, form in (
        ("workbench.client.handle", "TaskHandle", _handle),
        ("workbench.client.group", "TaskGroup", _group),
        ("workbench.core.states", "TaskRecord", _record),
        ("workbench.core.rpc", "Stats", _stats),
        ("workbench.core.rpc", "Workbench", _workbench),
        ("workbench.values.refs", "FileRef", _file),
        ("workbench.client.client", "Client", _plain),
        ("workbench.local.cluster", "LocalCluster", _plain),
    ):
        formatter.for_type_by_name(module, name, form)


def _state(state: State | str) -> str:
    known = State(state) if state in set(State) else None
    return f"{_SIGNS[known]} {known.value}" if known else html.escape(str(state))


def _table(rows: Iterable[tuple[str, str]], title: str = "") -> str:
    head = f"<caption style='text-align:left;font-weight:600'>{title}</caption>" if title else ""
    body = "".join(
        f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{value}</td></tr>"
        for name, value in rows
    )
    return f"<table>{head}{body}</table>"


def _handle(handle: TaskHandle) -> str:
    rows = [("task", f"<code>{html.escape(handle.id)}</code>"), ("state", _state(handle.known))]
    return _table(rows, html.escape(handle.operation or "task"))


def _group(group: TaskGroup) -> str:
    counts = group.counts()
    names = sorted({handle.operation for handle in group if handle.operation})
    rows = [("tasks", str(len(group))), ("done", str(counts["done"])), ("open", str(counts["open"]))]
    return _table(rows, html.escape(", ".join(names) or "tasks"))


def _record(record: TaskRecord) -> str:
    rows = [
        ("task", f"<code>{html.escape(record.task_id)}</code>"),
        ("state", _state(record.state)),
        ("attempt", str(record.attempt)),
        ("worker", html.escape(record.worker or "–")),
        ("queued", _seconds(record.seconds_queued)),
        ("running", _seconds(record.seconds_running)),
    ]
    if record.summary:
        rows.append(("result", html.escape(record.summary)))
    if record.failure:
        rows.append(("failure", html.escape(str(record.failure)).replace("\n", "<br>")))
    if record.output:
        rows.append(("output", f"<pre>{html.escape(record.output)}</pre>"))
    return _table(rows, html.escape(record.operation))


def _stats(stats: Stats) -> str:
    return _table([(_state(state), f"{count:,}") for state, count in stats.states.items()], "Tasks by state")


def _workbench(facts: Workbench) -> str:
    rows = []
    for worker in facts.workers:
        state = "✓ online" if worker.online else "✗ offline"
        families = html.escape(", ".join(worker.families))
        slots = f"{worker.busy} of {worker.slots} slots busy"
        rows.append((html.escape(worker.worker), f"{state}, {slots}, {families} on {html.escape(worker.host)}"))
    return _table(rows, f"{len(facts.workers)} workers, {len(facts.operations)} operations")


def _file(ref: FileRef) -> str:
    size = "–" if ref.size is None else f"{ref.size:,} bytes"
    return _table([("size", size), ("where", f"<code>{html.escape(ref.uri)}</code>")], html.escape(ref.name))


def _plain(value: object) -> str:
    return f"<code>{html.escape(repr(value))}</code>"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f} s"
