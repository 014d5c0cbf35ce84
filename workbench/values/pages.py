"""How many pictures an image file holds, in a time that grows with their number and no faster.

Pillow counts the pages of a TIFF by reading the tags of each, and looks each one up among all before it. 42 bytes make
a page, so that a file of 1.7 MB takes it ten seconds, and one of 42 MB hours. Here only the chain of pages is followed:
the latter takes one second.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from workbench.core.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 1_000_000
"""Pages that are counted: seconds of work. A chain that is longer is a trap."""


def count(image: Image) -> int:
    """Return how many frames or pages an image has; 1 for one in memory.

    Parameters
    ----------
    image
        As Pillow opened it.

    Raises
    ------
    InputError
        If it is a TIFF of more than `MOST` pages.
    OSError, ValueError, EOFError, SyntaxError, OverflowError
        If it is cut short or damaged, as Pillow tells it. What is wrong with a later page of a TIFF itself only shows
        when that is read.
    """
    file = getattr(image, "_fp", None)  # which Pillow keeps as long as there are other pages
    if image.format != "TIFF" or file is None or not getattr(image, "is_animated", False):
        return int(getattr(image, "n_frames", 1))
    position = file.tell()
    try:
        return _pages(file)
    finally:
        file.seek(position)


def _pages(file: BinaryIO) -> int:
    """Follow a TIFF's chain of pages (TIFF 6.0, section 2; BigTIFF has 8 bytes where that has 2 or 4)."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = 43 in head[2:4]
    entries, entry, place = (f"{order}Q", 20, f"{order}Q") if big else (f"{order}H", 12, f"{order}L")
    (next_,) = struct.unpack_from(place, head, 8 if big else 4)
    seen: set[int] = set()
    while next_ and next_ not in seen:
        seen.add(next_)
        if len(seen) > MOST:
            raise InputError(f"the image has more than {MOST:,} pages. It is damaged, or a trap")
        try:
            file.seek(next_)
            (length,) = struct.unpack(entries, file.read(struct.calcsize(entries)))
            file.seek(length * entry, 1)
            (next_,) = struct.unpack(place, file.read(struct.calcsize(place)))
        except struct.error as error:
            raise OSError(f"image file is truncated: it ends within page {len(seen) - 1}") from error
    return len(seen)
