"""What every view is: a title, what it draws, and three calls from the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from workbench.dashboard.board import Board
from workbench.dashboard.look import Html, button

if TYPE_CHECKING:
    from panel.viewable import Viewable

    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page


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
        """It's visited, at what follows its name in the address."""

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
    """A view that is one board, without charts.

    What it shows comes with the picture, or it asks for it: when it's visited, and when something was done from it.
    """

    frame: ClassVar[str] = "<div class='stack' data-part='body'></div>"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._board = self.board(self.frame, body="")

    @property
    def panel(self) -> Board:
        return self._board

    def open(self, rest: str) -> None:
        self.ask()

    def acted(self) -> None:
        self.ask()

    def ask(self) -> None:
        """Ask for what doesn't come with the picture; by default there is nothing like that."""
