"""One task: what it is, where it stands and why, its attempts, what it said, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.client.client import Client
from workbench.core.live import Detail
from workbench.core.rpc import AttemptRecord
from workbench.core.states import TaskRecord
from workbench.dashboard import previews
from workbench.dashboard.look import (
    Html,
    button,
    card,
    empty,
    esc,
    facts,
    link,
    meter,
    plural,
    seconds,
    size,
    state,
    table,
    when,
)
from workbench.dashboard.previews import Preview
from workbench.dashboard.views.base import AGAIN, AskingView
from workbench.dashboard.views.tasks import link_to

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

ENDED = 10.0  # seconds between two questions for a task that has ended: somebody may send it again


@dataclass(frozen=True)
class Story:
    """All that is known of one task."""

    detail: Detail
    attempts: tuple[AttemptRecord, ...]
    why: str
    preview: Preview

    @property
    def record(self) -> TaskRecord:
        """What the tracker knows."""
        return self.detail.record


class Task(AskingView[Story]):
    """One task, at its own address."""

    name = "task"
    title = ""

    def __init__(self, page: Page) -> None:
        self._task_id = ""
        self._story: Story | None = None
        super().__init__(page)

    def open(self, rest: str) -> None:
        if rest.strip() == self._task_id:
            self.ask()
            return
        self._task_id, self._story = rest.strip(), None
        self._board.write(body=self.awaited(), trouble="")
        self.ask(anew=True)

    def awaited(self) -> str:
        return card("Task", empty("One moment", f"Asking the tracker for {self._task_id}."))

    def due(self, picture: Picture) -> bool:
        ended = self._story is not None and self._story.record.state.terminal
        return self.since >= (ENDED if ended else AGAIN)

    def question(self) -> Callable[[Client], Awaitable[Story]]:
        task_id, before = self._task_id, self._story
        return lambda client: story(client, task_id, before)

    def found(self, told: Story) -> None:
        self._story = told
        self._board.write(body=self._body(told))

    def _body(self, told: Story) -> str:
        record = told.record
        return "".join(
            (
                self._head(told),
                f"<div class='cards'>{_facts(record)}{_arguments(told.detail)}{_result(told)}</div>",
                _failure(record),
                _attempts(told.attempts),
                _log(told.attempts),
                _events(told.detail),
                _code(record.task_id),
            )
        )

    def _head(self, told: Story) -> str:
        record = told.record
        buttons = [button("copy", "Copy id", text=record.task_id), button("link", "Copy link")]
        if not record.state.terminal:
            buttons.append(
                self.action(
                    "cancel", "Cancel", look="danger", tasks=record.task_id, confirm="Cancel this task, wherever it is?"
                )
            )
        elif told.detail.retryable:
            again = "Send this task again? It gets another attempt under the same id."
            buttons.append(self.action("retry", "Send again", look="main", tasks=record.task_id, confirm=again))
        progress = ""
        if record.progress is not None and record.progress.attempt == record.attempt and not record.state.terminal:
            progress = (
                f"<p>{meter(record.progress.fraction, f'{record.progress.fraction:.0%} {record.progress.message}')}</p>"
            )
        return (
            "<section class='card stack'><div class='row'><span class='grow'>"
            f"<h2>{esc(record.operation or 'task')}</h2><code class='faint'>{esc(record.task_id)}</code></span>"
            f"{''.join(buttons)}</div><div class='row'>{state(record.state.value)}"
            f"<span class='faint'>{esc(told.why)}</span></div>{progress}</section>"
        )


async def story(client: Client, task_id: str, before: Story | None) -> Story:
    """Ask for all that is known of a task. What can't change any more isn't asked for again."""
    detail, attempts = await asyncio.gather(client.live.detail(task_id), client.attempts(task_id))
    record = detail.record
    ended = record.state.terminal
    why = _ended(record) if ended else await client.why(task_id)
    same = before is not None and ended and before.record == record and before.preview.settled
    preview = before.preview if before is not None and same else await previews.of(client, detail)
    return Story(detail, tuple(attempts), why, preview)


def _ended(record: TaskRecord) -> str:
    return f"It ended at {record.finished_at:%Y-%m-%d %H:%M:%S} UTC." if record.finished_at else "It has ended."


def _facts(record: TaskRecord) -> Html:
    return card(
        "Facts",
        facts(
            (
                ("operation", link(link_to(operation=record.operation), record.operation) if record.operation else ""),
                ("attempt", f"{record.attempt}" + (f", sent again {record.replay} times" if record.replay else "")),
                ("worker", link(link_to(worker=record.worker), record.worker) if record.worker else ""),
                ("slot", "" if record.slot is None else record.slot),
                ("client", record.client),
                ("lane", record.lane or ""),
                ("submitted", when(record.submitted_at)),
                ("started", when(record.started_at) if record.started_at else ""),
                ("ended", when(record.finished_at) if record.finished_at else ""),
                ("waited", seconds(record.seconds_queued)),
                ("ran", seconds(record.seconds_running)),
                ("peak memory", size(record.peak_memory) if record.peak_memory is not None else ""),
                ("next attempt", when(record.retry_at) if record.retry_at else ""),
                ("deadline", when(record.deadline_at) if record.deadline_at else ""),
                ("to be cancelled", when(record.cancel_at) if record.cancel_at else ""),
                ("reason", record.cancel_reason),
                *((name, value) for name, value in record.notes.items()),
            )
        ),
    )


def _arguments(detail: Detail) -> Html:
    if not detail.arguments:
        return card("Arguments", empty("No arguments", "It was given none, or its message isn't kept any more."))
    return card("Arguments", facts((name, Html(f"<code>{esc(value)}</code>")) for name, value in detail.arguments))


def _events(detail: Detail) -> str:
    if not detail.events:
        return ""
    return card("Events", table(("when", "what"), [(when(event.at), event.what) for event in detail.events]))


def _result(told: Story) -> Html:
    return card("Result", Html(f"<div class='preview'>{told.preview.html}</div>"), told.record.summary)


def _failure(record: TaskRecord) -> str:
    if record.failure is None or record.state.value == "succeeded":
        return ""
    failure = record.failure
    hint = f"<p>{esc(failure.hint)}</p>" if failure.hint else ""
    trace = f"<pre>{esc(failure.traceback)}</pre>" if failure.traceback else ""
    said = f"<p><b>{esc(failure.type)}</b>: {esc(failure.message)}</p>"
    return card("Failure", Html(f"<div class='stack'>{said}{hint}{trace}</div>"), "of the last attempt that failed")


def _attempts(attempts: tuple[AttemptRecord, ...]) -> str:
    if not attempts:
        return card("Attempts", empty("No attempt yet", "It hasn't been started."))
    rows = [
        (
            attempt.attempt,
            state(*_how(attempt)),
            attempt.worker or "–",
            when(attempt.started_at),
            when(attempt.finished_at or attempt.lost_at),
            _why(attempt),
        )
        for attempt in attempts
    ]
    columns = ("attempt", "how it went", "worker", "started", "ended", "why")
    return card("Attempts", table(columns, rows, narrow=(3,), label="Attempts"), plural(len(attempts), "attempt"))


def _how(attempt: AttemptRecord) -> tuple[str, str]:
    if attempt.outcome is not None:
        word = attempt.outcome.status.value
        return ("retrying", "failed, tried again") if word == "retry" else (word, word)
    return ("lost-worker", "lost with its worker") if attempt.lost_at else ("running", "running")


def _why(attempt: AttemptRecord) -> str:
    end = attempt.outcome
    if end is None or end.failure is None:
        return ""
    killed = f" (signal {end.exit_signal})" if end.exit_signal is not None else ""
    return f"{end.failure.type}: {end.failure.message}{killed}"


def _log(attempts: tuple[AttemptRecord, ...]) -> str:
    said = [each for each in attempts if each.outcome is not None and each.outcome.output.strip()]
    if not said:
        return ""
    texts = [
        f"<h3>attempt {each.attempt}</h3><pre>{esc(each.outcome.output.rstrip())}</pre>"
        for each in said
        if each.outcome
    ]
    return card(
        "Log", Html(f"<div class='stack'>{''.join(texts)}</div>"), "what it printed and logged, the last 64 KiB"
    )


def _code(task_id: str) -> Html:
    code = f'import workbench as wb\n\nclient = wb.Client()\nresult = await client.result("{task_id}")'
    body = f"<div class='stack'><pre>{esc(code)}</pre><div class='row'>{button('copy', 'Copy', text=code)}</div></div>"
    return card("In a notebook", Html(body))
