"""The tasks: searched, filtered and paged by the tracker's database. No more than a page is ever here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from workbench.core.ids import made_at
from workbench.core.messages import utcnow
from workbench.core.states import State, TaskRecord
from workbench.dashboard.look import Html, button, clip, count, empty, esc, plural, seconds, state, table, when
from workbench.dashboard.views.base import TROUBLE, AskingView

if TYPE_CHECKING:
    from workbench.client.client import Client
    from workbench.core.rpc import Page as Found
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

PAGE = 50
COLUMNS = ("task", "state", "operation", "submitted", "waited", "ran", "attempt", "worker", "what came of it")
SPANS = {"": "any time", "600": "last 10 minutes", "3600": "last hour", "86400": "last day", "604800": "last 7 days"}


class Tasks(AskingView["Found"]):
    """A page of tasks, newest first."""

    name = "tasks"
    title = "Tasks"
    frame = f"""<div class='stack'>{TROUBLE}<section class='card stack'>
<div class='head'><h2>Tasks</h2><span class='tell grow' data-part='told' role='status'></span>
<button type='button' class='plain' data-act='refresh'>Refresh</button></div>
<div data-part='form'></div><div data-part='body'></div><div class='row end' data-part='pages'></div></section></div>"""
    answers = ("told", "body", "pages")

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._wanted: dict[str, str] = {}
        self._pages: list[str] = []  # where each page after the first begins, so that there is a way back
        self._operations: tuple[str, ...] = ()
        self._workers: tuple[str, ...] = ()
        self._board.write(form=_form({}, (), ()))

    def open(self, rest: str) -> None:
        query = {name: values[0] for name, values in parse_qs(rest).items() if name in _FIELDS}
        if query == self._wanted:
            self.ask()
        else:
            self._search(query)

    def show(self, picture: Picture) -> None:
        super().show(picture)
        names, workers = picture.operations, tuple(sorted(worker.worker for worker in picture.workers))
        if (names, workers) != (self._operations, self._workers):
            self._operations, self._workers = names, workers
            self._board.write(form=_form(self._wanted, names, workers))

    def on(self, message: dict[str, Any]) -> None:
        match message:
            case {"form": "filter", "values": dict(values)}:
                wanted = {name: str(values.get(name, "")).strip() for name in _FIELDS}
                self._search({name: value for name, value in wanted.items() if value})
            case {"act": "first"}:
                self._turn_to([])
            case {"act": "next", "before": str(before)} if before:
                self._turn_to([*self._pages, before])
            case {"act": "back"} if self._pages:
                self._turn_to(self._pages[:-1])
            case _:
                super().on(message)

    def _search(self, wanted: dict[str, str]) -> None:
        self._wanted = wanted
        self._board.write(form=_form(wanted, self._operations, self._workers))
        self._turn_to([])

    def _turn_to(self, pages: list[str]) -> None:
        self._pages = pages
        self.ask(anew=True)

    def question(self) -> Callable[[Client], Awaitable[Found]]:
        wanted = dict(self._wanted)
        before = self._pages[-1] if self._pages else None
        state, span = wanted.get("state", ""), wanted.get("since", "")
        return lambda client: client.live.search(
            states=[state] if state in set(State) else (),
            operation=wanted.get("operation"),
            worker=wanted.get("worker"),
            text=wanted.get("text", ""),
            group=wanted.get("group"),
            argument=wanted.get("argument", ""),
            submitted_from=utcnow() - timedelta(seconds=float(span)) if span in SPANS and span else None,
            before=before,
            limit=PAGE,
        )

    def found(self, told: Found) -> None:
        self._board.write(
            told=f"{_unfinished(told) if told.unfinished else self._shown(told)} As of {utcnow():%H:%M:%S} UTC.",
            body=_table(told.records) if told.records else self._nothing(told),
            pages=self._paging(told.before),
        )

    def _shown(self, found: Found) -> str:
        filtered = (" that matches" if found.total == 1 else " that match") if self._wanted else ""
        first, number = len(self._pages) * PAGE, len(found.records)
        which = f"{first + 1:,} to {first + number:,}" if number > 1 else count(number)
        more = "" if found.exact else "at least "
        return f"Showing {which} of {more}{plural(found.total, 'task')}{filtered}, newest first."

    def _nothing(self, found: Found) -> Html:
        if found.unfinished:
            return empty("No task matches so far", "Older goes on from there. Other filters make it faster.")
        if self._wanted:
            return empty("No task matches", "Take a filter off, or look at a longer time.")
        return empty("No tasks yet", 'Submit one: client.submit("image.thumbnail", "photo.jpg")')

    def _paging(self, before: str | None) -> str:
        return (
            button("first", "Newest", disabled=not self._pages)
            + button("back", "Newer", disabled=not self._pages)
            + button("next", "Older", disabled=before is None, before=before or "")
        )


_FIELDS = ("text", "argument", "state", "operation", "worker", "since", "group")


def _form(wanted: dict[str, str], operations: tuple[str, ...], workers: tuple[str, ...]) -> str:
    states = {"": "any state", **{each.value: each.value for each in State}}
    return (
        "<form data-form='filter' data-route='tasks' role='search'><label class='wide'>search"
        f"<input type='search' name='text' value='{esc(wanted.get('text', ''), quote=True)}' "
        "placeholder='operation, worker, error, or beginning of an id' autocomplete='off' spellcheck='false'></label>"
        "<label>in arguments"
        f"<input type='text' name='argument' value='{esc(wanted.get('argument', ''), quote=True)}' "
        "placeholder='flights.csv' autocomplete='off' spellcheck='false'></label>"
        + _select("state", states, wanted)
        + _select("operation", {"": "any operation", **{name: name for name in operations}}, wanted)
        + _select("worker", {"": "any worker", **{name: name for name in workers}}, wanted)
        + _select("since", SPANS, wanted, "submitted")
        + _hidden(wanted)
        + "<a class='button plain' href='#/tasks'>Clear</a></form>"
    )


def _hidden(wanted: dict[str, str]) -> str:
    """Return what keeps a group of failures chosen while other filters change."""
    group = wanted.get("group", "")
    if not group:
        return ""
    chip = "<span class='chip'>one group of failures</span>"
    return f"<input type='hidden' name='group' value='{esc(group, quote=True)}'>{chip}"


def _select(name: str, options: dict[str, str], wanted: dict[str, str], label: str = "") -> str:
    chosen = wanted.get(name, "")
    known = options if chosen in options else {**options, chosen: chosen}
    items = "".join(
        f"<option value='{esc(value, quote=True)}'{' selected' if value == chosen else ''}>{esc(text)}</option>"
        for value, text in known.items()
    )
    return f"<label>{label or name}<select name='{name}'>{items}</select></label>"


def link_to(**wanted: str) -> str:
    """Return the address of a search, such as `tasks?state=failed`."""
    return f"tasks?{urlencode({name: value for name, value in wanted.items() if value})}"


def _unfinished(found: Found) -> str:
    """Say how far a search came that ended before the page was full."""
    back = made_at(found.before or "")
    through = f"Looked through the tasks back to {back:%Y-%m-%d %H:%M:%S}" if back else "Looked through some tasks"
    return f"{through}: {plural(len(found.records), 'match', 'matches')} there. Older goes on."


def _table(records: tuple[TaskRecord, ...]) -> Html:
    rows = [
        (
            Html(f"<code title='{esc(record.task_id)}'>…{esc(record.task_id[-12:])}</code>"),
            state(record.state.value),
            record.operation or "not known yet",
            when(record.submitted_at),
            seconds(record.seconds_queued),
            seconds(record.seconds_running),
            record.attempt or "–",
            record.worker or "–",
            clip(news(record)),
        )
        for record in records
    ]
    hrefs = [f"task/{record.task_id}" for record in records]
    return table(COLUMNS, rows, numbers=(4, 5, 6), hrefs=hrefs, narrow=(3, 4, 6, 7), label="Tasks")


def news(record: TaskRecord) -> str:
    """Say what is worth knowing of a task in a few words."""
    if record.state is State.RUNNING and record.progress is not None and record.progress.attempt == record.attempt:
        return f"{record.progress.fraction:.0%} {record.progress.message}".rstrip()
    if not record.state.terminal and record.cancel_at is not None:
        return "to be cancelled"
    if record.failure is not None and record.state is not State.SUCCEEDED:
        return f"{record.failure.type}: {record.failure.message}"
    return record.summary
