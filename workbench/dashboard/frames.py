"""How charts and boards are put together: a card around a chart with its text summary, cards under each other."""

from __future__ import annotations

import panel as pn
from bokeh.plotting import figure
from panel.viewable import Viewable

from workbench.dashboard.board import Board

_CARD = """
:host {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 12px 6px;
  box-sizing: border-box; width: 100%;
}
@media (max-width: 620px) { :host { border-radius: 10px; padding: 12px 6px 4px; } }
"""

INSET = """
:host { width: 100%; max-width: 1680px; margin: 0 auto; padding: 16px 20px 32px; gap: 12px; box-sizing: border-box; }
@media (max-width: 620px) { :host { padding: 10px 12px 24px; } }
.scroll-button { display: none; }
"""
"""What the page keeps free around a view."""


def framed(*parts: Board | figure) -> pn.Column:
    """Return a card with boards and charts below each other."""
    shown = [_inset(part) if isinstance(part, Board) else _charted(part) for part in parts]
    return pn.Column(*shown, sizing_mode="stretch_width", margin=0, stylesheets=[_CARD])


def _inset(board: Board) -> Viewable:
    board.margin = (0, 4)
    return board


def _charted(plot: figure) -> Viewable:
    return pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0)  # type: ignore[no-untyped-call]


def stacked(*parts: Viewable) -> pn.Column:
    """Return parts under each other."""
    return pn.Column(*parts, sizing_mode="stretch_width", margin=0, stylesheets=[":host { gap: 12px; }"])
