"""`Bar`: how far a file is on its way, as a line of text where somebody watches: a terminal, or a notebook's cell.

Text, not a widget: nothing has to be installed for it, and it stays readable in a saved notebook.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from workbench.core.texts import plain
from workbench.values.refs import size_text

LARGE = 16 << 20
"""Bytes from which on a file's way is shown."""
_CELLS = 24
_EVERY = 0.1  # seconds between two lines: a notebook's server keeps each of them


class Bar:
    """A line that fills up.

    Parameters
    ----------
    what
        Said before it.
    total
        Bytes to come. Nothing is shown where they are few, or nobody watches.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._stream = _watched() if total >= LARGE else None
        self._next = time.monotonic() + _EVERY
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and self._width:
            print(file=self._stream, flush=True)

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` bytes of `total` are through."""
        now = time.monotonic()
        if self._stream is None or (now < self._next and (done < total or not self._width)):
            return
        self._next = now + _EVERY
        line = text(self._what, done, total)
        # Spaces over what a longer line has left; the return first, so that the cursor rests behind the text.
        print(f"\r{line}{' ' * (self._width - len(line))}", end="", file=self._stream, flush=True)
        self._width = len(line)


def text(what: str, done: int, total: int) -> str:
    """Return the line.

    Examples
    --------
    >>> text("flights.csv", 150_000_000, 300_000_000)
    'flights.csv ████████████░░░░░░░░░░░░ 50% of 300.0 MB'
    """
    fraction = min(1.0, done / total) if total else 1.0
    filled = int(fraction * _CELLS)
    return f"{plain(what)} {'█' * filled}{'░' * (_CELLS - filled)} {fraction:.0%} of {size_text(total)}"


def _watched() -> TextIO | None:
    """Return where somebody sees a line as it changes; None where nobody does."""
    if type(sys.stdout).__module__.startswith("ipykernel."):
        return sys.stdout
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
