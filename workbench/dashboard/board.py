"""A board: HTML in named parts that a session renews, and what a reader does on it. Its JavaScript is `board.js`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

HERE = Path(__file__).parent
PAGE_CSS = (HERE / "page.css").read_text()


class Board(JSComponent):
    """HTML in named parts.

    Parameters
    ----------
    frame
        The HTML around the parts, which stays: `<div data-part="name"></div>`.
    on
        Called with what a reader did: a dictionary with `act`, `form`, `route` or `theme`.
    """

    frame = param.String(default="<div data-part='body'></div>")
    parts = param.Dict(default={})
    leads = param.Boolean(default=False, doc="Whether it stands for the page: follows the address, wears the theme.")
    beat = param.Integer(default=0, doc="Goes up while the server is there.")
    go = param.String(default="", doc="Where the page is to go.")

    _esm = (HERE / "board.js").read_text()
    _stylesheets: ClassVar[list[str]] = [(HERE / "board.css").read_text()]

    def __init__(self, *, on: Callable[[dict[str, Any]], object] | None = None, **params: Any) -> None:
        self._on = on
        super().__init__(sizing_mode="stretch_width", **params)  # type: ignore[no-untyped-call]

    def write(self, **parts: str) -> None:
        """Renew parts. What hasn't changed isn't sent, as far as the whole board goes, and not drawn anew."""
        renewed = {**self.parts, **{name: str(text) for name, text in parts.items()}}
        if renewed != self.parts:
            self.parts = renewed

    def _handle_msg(self, message: Any) -> None:
        if self._on is not None and isinstance(message, dict):
            self._on(message)
