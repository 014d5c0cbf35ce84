"""A board: HTML in named parts that a session renews, and what a reader does on it. Its JavaScript is `board.js`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import param
from jinja2 import Template
from panel.custom import JSComponent

HERE = Path(__file__).parent
PAGE_CSS = (HERE / "page.css").read_text()
BOARD_CSS = (HERE / "board.css").read_text()
TEMPLATE = Template((HERE / "page.html").read_text())
"""The page without what Panel has every page load, and this one doesn't use: Tabulator, and drawing by WebGL."""


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

    _esm = (HERE / "board.js").read_text()
    _stylesheets: ClassVar[list[str]] = [BOARD_CSS]

    def __init__(self, *, on: Callable[[dict[str, Any]], None] | None = None, **params: Any) -> None:
        self._on = on
        self._waiting: dict[str, str] = {}
        self._ready = False
        super().__init__(sizing_mode="stretch_width", **params)  # type: ignore[no-untyped-call]

    def _get_properties(self, doc: Any) -> dict[str, Any]:
        # As a bundle it is taken as it stands, once: else each board compiles it anew from what might be TypeScript.
        return super()._get_properties(doc) | {"bundle": "workbench-board"}

    @property
    def there(self) -> bool:
        """Whether changes reach the browser in order: it has drawn the board, or hasn't been sent it yet.

        Panel sends what is new on a page after changes that were made later. A chart is changed when the board beside
        it is there.
        """
        return self._ready or not self._models

    def write(self, **parts: str) -> None:
        """Renew parts. What hasn't changed isn't sent, as far as the whole board goes, and not drawn anew."""
        if not self.there:
            self._waiting.update(parts)
            return
        renewed = {**self.parts, **{name: str(text) for name, text in parts.items()}}
        if renewed != self.parts:
            self.parts = renewed

    def _handle_msg(self, message: Any) -> None:
        if isinstance(message, dict) and message.get("ready"):
            self._ready, waiting, self._waiting = True, self._waiting, {}
            if waiting:
                self.write(**waiting)
        elif self._on is not None and isinstance(message, dict):
            # Later, when the session's lock is held: Bokeh's models may be changed only then.
            pn.state.execute(functools.partial(self._on, message), schedule=True)
