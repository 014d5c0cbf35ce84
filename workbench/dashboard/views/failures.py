"""The failures, grouped by operation, exception and the last line of code: what is wrong, how often, since when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

from workbench.core.live import FailureGroup
from workbench.core.rpc import Failures as Told
from workbench.dashboard.look import Html, ago, clip, count, empty, esc, link, plural, table, task_link
from workbench.dashboard.views.base import TROUBLE, AskingView
from workbench.dashboard.views.tasks import link_to

if TYPE_CHECKING:
    from workbench.client.client import Client
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

SOON = 3.0  # seconds from one question to the next, where their number is another one
AGAIN = 10.0  # where it isn't: as many may have failed as were sent again, or taken off the list
COLUMNS = ("operation", "what went wrong", "where", "tasks", "first", "last", "the latest", "")


class Failures(AskingView[Told]):
    """Groups of tasks that have failed."""

    name = "failures"
    title = "Failures"
    frame = (
        f"<div class='stack'>{TROUBLE}<section class='card'><div class='head'><h2>Failures</h2>"
        "<span class='tell' data-part='told'></span></div><div data-part='body'></div></section></div>"
    )
    answers = ("told", "body")

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._failures = -1  # how many there were when it was asked
        self._told: Told | None = None

    def due(self, picture: Picture) -> bool:
        return self.since >= (SOON if picture.failures != self._failures else AGAIN)

    def question(self) -> Callable[[Client], Awaitable[Told]]:
        self._failures = self.page.feed.picture.failures
        return lambda client: client.live.failures()

    def found(self, told: Told) -> None:
        self._told = told
        self._draw(told, self.page.feed.picture.now)

    def show(self, picture: Picture) -> None:
        super().show(picture)
        if self._told is not None:
            self._draw(self._told, picture.now)  # how long ago it was

    def _draw(self, told: Told, now: datetime) -> None:
        if not told.groups:
            words = "Tasks that fail come here, grouped by what went wrong."
            self._board.write(told="", body=empty("Nothing has failed", words))
            return
        said = f"{plural(told.total, 'failed task')} in {plural(told.total_groups, 'group')}, the latest first."
        if len(told.groups) < told.total_groups:
            said += f" Showing {len(told.groups):,} of them."
        rows = [self._row(group, now) for group in told.groups]
        self._board.write(told=said, body=table(COLUMNS, rows, numbers=(3,), narrow=(2, 4, 6), label="Failures"))

    def _row(self, group: FailureGroup, now: datetime) -> tuple[object, ...]:
        tasks = plural(group.count, "task")
        what = f"{tasks} of {group.operation} that failed with {group.type}"
        again = self.action("retry_group", "Send again", group=group.group, confirm=f"Send {what} again?")
        gone = self.action(
            "discard_group",
            "Discard",
            look="danger",
            group=group.group,
            confirm=f"Take {what} off this list, and their dead letters away? They stay failed, and on record.",
        )
        said = Html(f"<b>{esc(group.type)}</b>{clip(group.message)}")
        return (
            group.operation,
            said,
            Html(f"<code>{esc(group.frame)}</code>") if group.frame else "–",
            link(link_to(group=group.group), count(group.count)),
            ago(group.first_at, now),
            ago(group.last_at, now),
            task_link(group.latest, f"…{group.latest[-12:]}"),
            Html(f"<span class='row'>{again}{gone}</span>"),
        )
