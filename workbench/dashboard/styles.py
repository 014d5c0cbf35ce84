"""How operations and families are told apart: a colour, then a hatching on top of it. No Bokeh.

The eight colours were searched for, so that any two of them are as far apart as can be: in OKLab, with full colour
vision and without one kind of cone (Machado, Oliveira and Fernandes, 2009), on white and on the dark card.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.dashboard.look import Html

COLOURS = ("#114cdc", "#ef6600", "#0ea992", "#b57dfb", "#a6c9f0", "#ae320d", "#fdba50", "#78477d")
HATCHES = ("plain", "lines", "dots")
INK = "#1b2430"
"""The colour of the hatching: seen on all of the others."""


@dataclass(frozen=True, slots=True)
class Style:
    """How an operation is drawn."""

    colour: str
    hatch: str = HATCHES[0]

    @property
    def swatch(self) -> Html:
        """A small square that looks like it."""
        return Html(f"<span class='swatch {self.hatch}' style='background-color:{self.colour}'></span>")


UNKNOWN = Style("#8a8fa0")
STYLES = tuple(Style(colour, hatch) for hatch in HATCHES for colour in COLOURS)


def style(number: int) -> Style:
    """Return the style of the operation with this number, from 0: the first 24 differ."""
    return STYLES[number % len(STYLES)]
