"""Rich forms in a notebook, registered with IPython by name: our objects know nothing of screens, nothing loads early.

All text that comes from tasks is escaped. A state is told by a word and a sign, not by colour alone.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from workbench.core.states import State

if TYPE_CHECKING:
    from workbench.broker.letters import Letter
    from workbench.client.group import TaskGroup
    from workbench.client.handle import TaskHandle
    from workbench.core.rpc import Stats, Workbench
    from workbench.core.states import Progress, TaskRecord
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
_CELLS = 20
_LINE = 200  # characters of a text's line
_COLUMNS = 20
_ROWS = 10
_EDGE = 640  # pixels that a result's picture is wide or high
_TEXT = 4000  # characters
_SHOWN = 16 << 20  # bytes of a picture, of which all has to be decoded
_WHOLE = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ico", ".jp2", ".avif")


def register(shell: Any) -> None:
    """Teach an IPython shell the rich forms of our objects."""
    formatter = shell.display_formatter.formatters["text/html"]
    for module, name, form in (
        ("workbench.client.handle", "TaskHandle", _handle),
        ("workbench.client.group", "TaskGroup", _group),
        ("workbench.core.states", "TaskRecord", _record),
        ("workbench.core.rpc", "Stats", _stats),
        ("workbench.core.rpc", "Workbench", _workbench),
        ("workbench.core.rpc", "AttemptRecord", _plain),
        ("workbench.client.cancel", "Cancellation", _plain),
        ("workbench.broker.letters", "Letter", _letter),
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
    record = handle.peek()
    if record is not None:
        return _record(record)
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
        ("attempt", str(record.attempt) + (f" (sent again {record.replay} times)" if record.replay else "")),
        ("worker", html.escape(record.worker or "–")),
        ("queued", _seconds(record.seconds_queued)),
        ("running", _seconds(record.seconds_running)),
    ]
    if record.progress is not None and record.progress.attempt == record.attempt:
        rows.append(("progress", _bar(record.progress)))
    if record.retry_at is not None:
        rows.append(("next attempt", f"{record.retry_at:%Y-%m-%d %H:%M:%S} UTC"))
    if record.cancel_at is not None and not record.state.terminal:
        rows.append(("to be cancelled", html.escape(record.cancel_reason or "yes")))
    if record.summary:
        rows.append(("result", html.escape(record.summary)))
    if record.failure:
        rows.append(("failure", html.escape(str(record.failure)).replace("\n", "<br>")))
    if record.output:
        rows.append(("output", f"<pre>{html.escape(record.output)}</pre>"))
    return _table(rows, html.escape(record.operation))


def _bar(progress: Progress) -> str:
    """Return a bar of characters: nothing of it is lost where a notebook isn't trusted, or is read aloud."""
    filled = round(progress.fraction * _CELLS)
    bar = f"{'█' * filled}{'░' * (_CELLS - filled)}"
    return f"<code>{bar}</code> {progress.fraction:.0%} {html.escape(progress.message)}".rstrip()


def _letter(letter: Letter) -> str:
    rows = [
        ("task", f"<code>{html.escape(letter.task_id or letter.message_id)}</code>"),
        ("died of", html.escape(letter.reason_type)),
        ("reason", html.escape(letter.reason).replace("\n", "<br>")),
        ("when", f"{letter.at:%Y-%m-%d %H:%M:%S} UTC" if letter.at is not None else "–"),
        ("worker", html.escape(letter.worker or "–")),
        ("attempts", str(letter.attempts or "–")),
    ]
    return _table(rows, f"dead letter: {html.escape(letter.operation or letter.kind)}")


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
    facts = _table([("size", size), ("where", f"<code>{html.escape(ref.uri)}</code>")], html.escape(ref.name))
    return facts + _preview(ref)


def preview_of(value: Any) -> str:
    """Return how a result begins as HTML, escaped: a picture, the head of a table, a file's facts, or a text."""
    module, name = type(value).__module__.partition(".")[0], type(value).__name__
    match module, name:
        case "workbench", "FileRef":
            return _file(value)
        case "pandas", "DataFrame":
            return _shown(value.head(_ROWS))
        case "pyarrow", "Table":
            return _shown(value.slice(0, _ROWS).to_pandas())
        case "PIL", _:
            picture = value.copy()
            picture.thumbnail((_EDGE, _EDGE))
            return _shown(picture)
    return _shown(repr(value)[:_TEXT])


def _preview(ref: FileRef) -> str:
    """Return the file's beginning, where that is to be had at once: showing a cell's result must not download it."""
    if not ref.at_hand or ((ref.size or 0) > _SHOWN and ref.name.lower().endswith(_WHOLE)):
        return ""
    try:
        return _shown(ref.preview())
    except Exception:  # it is only for show: what is wrong with a file is told when it is opened
        return ""


def _shown(value: Any) -> str:
    match value:
        case str():
            lines = (line if len(line) <= _LINE else f"{line[:_LINE]}…" for line in value.splitlines())
            return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
        case bytes():
            return ""
    if hasattr(value, "to_html"):
        return str(value.to_html(max_cols=_COLUMNS, border=0, notebook=True))
    picture = io.BytesIO()
    (value if value.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else value.convert("RGB")).save(picture, "PNG")
    data = base64.b64encode(picture.getvalue()).decode()
    return f"<img alt='preview, {value.width} × {value.height}' src='data:image/png;base64,{data}'>"


def _plain(value: object) -> str:
    return f"<code>{html.escape(repr(value))}</code>"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f} s"
