"""The first sight of a page: its head and the overview as plain HTML, as of the moment it was asked for.

Bokeh's and Panel's JavaScript are megabytes, which a browser takes a second to bring to life, and several where the
cores are busy. What is asked first, whether all is well, can be read meanwhile. The page's first board takes it away.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workbench.dashboard import head
from workbench.dashboard.board import BOARD_CSS
from workbench.dashboard.frames import INSET
from workbench.dashboard.look import Html
from workbench.dashboard.views import TITLES
from workbench.dashboard.views.overview import Overview, still

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture

_PART = re.compile(r"<[^>]* data-part='(\w+)'[^>]*>")


def page(picture: Picture) -> Html:
    """Return a page as it is first seen."""
    top = _filled(head.FRAME, where=head.loading(picture), views=head.views(picture, TITLES, Overview.name))
    return Html(_hosted("first-head", top) + _hosted("first-view", still(picture), INSET))


def _filled(frame: str, **parts: str) -> str:
    """Return a board's frame with its parts."""
    return _PART.sub(lambda found: found[0] + parts.get(found[1], ""), frame)


def _hosted(name: str, text: str, style: str = "") -> str:
    """Return HTML that only the boards' style sheet dresses: in a shadow tree of its own, as a board's is."""
    sheet = f"<style>{BOARD_CSS}{style}</style>"
    return f"<div id='{name}'><template shadowrootmode='open'>{sheet}<div class='board'>{text}</div></template></div>"
