"""What every view is: a title, what it draws, and three calls from the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from workbench.dashboard.board import Board
from workbench.dashboard.look import Html, button, empty, unanswered

if TYPE_CHECKING:
    from panel.viewable import Viewable

    from workbench.client.client import Client
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

T = TypeVar("T")

AGAIN = 2.0
"""Seconds after which a question that failed is asked again."""

TROUBLE = "<div data-part='trouble' role='alert'></div>"
"""Where a frame of an `AskingView` says that a question failed."""


class View:
    """One view of one session. It's made when it's first visited, and told of news only while it's seen."""

    name = ""
    title = ""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def panel(self) -> Viewable:
        """What is put on the page."""
        raise NotImplementedError

    def open(self, rest: str) -> None:
        """It's visited, at what follows its name in the address: a path, or a query as it stands there."""

    def show(self, picture: Picture) -> None:
        """Draw what is new. Called each second, and when it's visited."""

    def dress(self, dark: bool) -> None:
        """Wear the light or the dark theme, where that isn't the style sheet's work alone."""

    def acted(self) -> None:
        """Something was done from here: look again, where what is shown doesn't come by itself."""

    def on(self, message: dict[str, Any]) -> None:
        """Do what a reader asked for on a board of this view; by default the page does."""
        self.page.on(message)

    def board(self, frame: str, **parts: str) -> Board:
        """Return a board of this view."""
        return Board(frame=frame, parts=parts, on=self.on)

    def action(self, act: str, label: str, **options: Any) -> Html:
        """Return a button that changes something; nothing where the dashboard is read-only."""
        return Html("") if self.page.read_only else button(act, label, **options)


class BoardView(View):
    """A view that is one board, without charts."""

    frame: ClassVar[str] = "<div class='stack' data-part='body'></div>"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._board = self.board(self.frame, body="")

    @property
    def panel(self) -> Board:
        return self._board


class AskingView(BoardView, Generic[T]):
    """A view of what is asked for: when it's visited, when something was done from it, and when it's `due`.

    Where a question fails the reason is said, and it's asked again by itself, as long as the view is seen. An earlier
    answer stays meanwhile, unless it was one to something else.
    """

    frame = f"<div class='stack'>{TROUBLE}<div class='stack' data-part='body'></div></div>"
    answers: ClassVar[tuple[str, ...]] = ("body",)  # the parts that an answer fills

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._asked_at = 0.0
        self._number = 0  # of the latest question: an answer to an earlier one is of no interest any more
        self._open = self._failed = self._answered = False
        self._board.write(body=self.awaited())

    def open(self, rest: str) -> None:
        self.ask()

    def acted(self) -> None:
        self.ask()

    def on(self, message: dict[str, Any]) -> None:
        if message.get("act") == "refresh":
            self.ask()
        else:
            super().on(message)

    def show(self, picture: Picture) -> None:
        due = self.due(picture)
        if not self._open and (due or (self._failed and self.since >= AGAIN)):
            self.ask()

    @property
    def since(self) -> float:
        """Seconds since it was last asked."""
        return self.page.feed.now() - self._asked_at

    def question(self) -> Callable[[Client], Awaitable[T]]:
        """Return what is asked now."""
        raise NotImplementedError

    def found(self, told: T) -> None:
        """Draw what was answered."""
        raise NotImplementedError

    def due(self, picture: Picture) -> bool:
        """Whether to ask again by itself; by default it isn't. Called with each picture."""
        return False

    def awaited(self) -> str:
        """Return what stands for a body until there is an answer."""
        return empty("One moment", "")

    def ask(self, *, anew: bool = False) -> None:
        """Ask; `anew` where the answer to come has nothing to do with what is shown."""
        self._asked_at = self.page.feed.now()
        self._number += 1
        self._open = True
        self._answered = self._answered and not anew
        number = self._number

        def then(told: T) -> None:
            if number == self._number:
                self._open, self._failed, self._answered = False, False, True
                self._board.write(trouble="")
                self.found(told)

        def failed(error: Exception) -> None:
            if number == self._number:
                self._open, self._failed = False, True
                void = {} if self._answered else dict.fromkeys(self.answers, "")
                self._board.write(trouble=unanswered(error), **void)

        self.page.run(self.question(), then, failed)
