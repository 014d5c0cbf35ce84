"""The dead letters: what could not be delivered, done, read or recorded. The broker has them, and is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from workbench.broker.letters import Letter
from workbench.dashboard.look import Html, button, clip, empty, plural, table, task_link, when
from workbench.dashboard.views.base import TROUBLE, AskingView

if TYPE_CHECKING:
    from workbench.client.client import Client
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

MOST = 200
COLUMNS = ("task", "operation", "died of", "reason", "when", "worker", "attempts", "")


class Dead(AskingView[list[Letter]]):
    """The oldest dead letters. Looking goes through the broker's queue, so it's done when asked for only."""

    name = "dead"
    title = "Dead letters"
    frame = (
        f"<div class='stack'>{TROUBLE}<section class='card'><div class='head'><h2>Dead letters</h2>"
        "<span class='tell grow' data-part='told'></span><span class='row' data-part='all'></span></div>"
        "<div data-part='body'></div></section></div>"
    )
    answers = ("told", "all", "body")

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._queues, self._count = page.feed.picture.queues, page.feed.picture.dead
        self._seen: int | None = None  # how many there were at the last look

    def due(self, picture: Picture) -> bool:
        """Whether their number is another one, twice in a row: while anybody looks, the broker counts fewer."""
        if picture.queues is self._queues:
            return False
        settled = picture.dead == self._count
        self._queues, self._count = picture.queues, picture.dead
        if not settled:
            return False
        if self._seen is None:
            self._seen = picture.dead
        return picture.dead != self._seen

    def question(self) -> Callable[[Client], Awaitable[list[Letter]]]:
        return lambda client: client.dead_letters(MOST)

    def found(self, told: list[Letter]) -> None:
        self._seen = len(told) if len(told) < MOST else None
        refresh = button("refresh", "Refresh", look="plain")
        if not told:
            words = "What can't be delivered, done or recorded comes here, and can be sent again."
            self._board.write(told="", all=refresh, body=empty("No dead letters", words))
            return
        said = plural(len(told), "letter")
        if len(told) == MOST:
            said = f"Showing the oldest {said} of {max(self.page.feed.picture.dead, MOST):,}."
        self._board.write(told=said, all=refresh + self._for_all(), body=self._table(told))

    def _for_all(self) -> Html:
        everything = "all dead letters"
        return Html(
            self.action("replay_all", "Send all again", confirm=f"Send {everything} again, as far as they can be?")
            + self.action("purge_all", "Discard all", look="danger", confirm=f"Remove {everything} for good?")
        )

    def _table(self, letters: list[Letter]) -> Html:
        rows = [
            (
                task_link(letter.task_id, f"…{letter.task_id[-12:]}") if letter.task_id else letter.message_id,
                letter.operation or letter.kind,
                letter.reason_type,
                clip(letter.reason),
                when(letter.at),
                letter.worker or "–",
                letter.attempts or "–",
                Html(f"<span class='row'>{self._actions(letter)}</span>"),
            )
            for letter in letters
        ]
        return table(COLUMNS, rows, numbers=(6,), narrow=(4, 5, 6), label="Dead letters")

    def _actions(self, letter: Letter) -> str:
        which = letter.task_id or letter.message_id
        again = self.action("replay", "Send again", letter=which, confirm="Send this dead letter again?")
        gone = self.action("purge", "Discard", look="danger", letter=which, confirm="Remove this dead letter for good?")
        return (again if letter.kind != "other" else Html("")) + gone
