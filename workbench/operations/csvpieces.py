"""A CSV without quotes in pieces of whole lines, which Arrow parses with all its threads; its streaming reader has one.

Only a quote can make the end of a line a part of a value. So pieces end with the first one that holds a quote.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

PIECE = 8 << 20
"""Bytes of a piece at most."""
ROOM = 64 * PIECE
"""Bytes of memory there have to be: for a piece, the next two, what is made of it, and what waits to be written."""

_BLANK = re.compile(rb"[\r\n]*")
_LONGEST = 1 << 20  # of a header


def skip_header(file: BinaryIO) -> int:
    """Leave a file behind its header, and return that place; 0 where the header isn't one line without quotes."""
    text = file.read(_LONGEST)
    start = len(codecs.BOM_UTF8) if text.startswith(codecs.BOM_UTF8) else 0
    start = _BLANK.match(text, start).end()  # type: ignore[union-attr]
    end = text.find(b"\n", start)
    header = text[start:end].removesuffix(b"\r")
    if end < 0 or b'"' in header or b"\r" in header:
        return 0
    return file.seek(end + 1)


def pieces(file: BinaryIO) -> Iterator[memoryview]:
    """Yield whole lines' memory, from where a file stands to the first quote, or to its end.

    The file stands at the beginning of what wasn't yielded then. Pieces of blank lines are left out.
    """
    while True:
        place = file.tell()
        text = file.read(PIECE)
        end = len(text) if len(text) < PIECE else text.rfind(b"\n") + 1
        if not end or text.find(b'"', 0, end) >= 0:
            file.seek(place)
            return
        file.seek(place + end)
        if _BLANK.match(text, 0, end).end() < end:  # type: ignore[union-attr]
            yield memoryview(text)[:end]
