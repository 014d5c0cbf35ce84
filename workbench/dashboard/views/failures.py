"""The failures, grouped by operation, exception and the last line of code: what is wrong, how often, since when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from workbench.core.live import FailureGroup
from workbench.core.rpc import Failures as FoundFailures
from workbench.dashboard.look import Html, ago, card, clip, count, empty, esc, link, plural, table, task_link
from workbench.dashboard.views.base import BoardView
from workbench.dashboard.views.tasks import link_to

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

AGAIN = 3.0  # seconds
COLUMNS = ("operation", "what went wrong", "where", "tasks", "first", "last", "the latest", "")


class Failures(BoardView):
    """Groups of tasks that have failed."""

    name = "failures"
    title = "Failures"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._asked_at = 0.0
        self._failed = -1
        self._told: FoundFailures | None = None
        self._board.write(body=card("Failures", empty("One moment", "")))

    def show(self, picture: Picture) -> None:
        failed = picture.states.get("failed", 0)
        if failed != self._failed and self.page.feed.now() - self._asked_at >= AGAIN:
            self._failed = failed
            self.ask()
        self._draw(picture.at)  # how long ago it was

    def ask(self) -> None:
        self._asked_at = self.page.feed.now()
        self.page.run(lambda client: client.live.failures(), self._found)

    def _found(self, told: FoundFailures) -> None:
        self._told = told
        self._draw(self.page.feed.picture.at)

    def _draw(self, now: datetime) -> None:
        if self._told is None:
            return
        groups, total = self._told.groups, self._told.total_groups
        if not groups:
            body = empty("Nothing has failed", "Tasks that fail come here, grouped by what went wrong.")
            self._board.write(body=card("Failures", body))
            return
        told = f"{plural(self._told.total, 'failed task')} in {plural(total, 'group')}, the latest first."
        if len(groups) < total:
            told += f" Showing {len(groups):,} of them."
        shown = table(
            COLUMNS, [self._row(group, now) for group in groups], numbers=(3,), narrow=(2, 4, 6), label="Failures"
        )
        self._board.write(body=card("Failures", shown, told))

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
