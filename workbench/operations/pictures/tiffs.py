"""EXIF in TIFF files: Pillow writes no directories of tags (the exposure, the place) beside compressed pixels."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_HEADER = 14
"""Bytes of a block of EXIF before its first directory: `Exif`, two zeros, and the header of a TIFF."""


def put_exif(path: Path, exif: bytes) -> None:
    """Add a block of EXIF to the first page of a TIFF, which keeps the tags that it has.

    The page's directory is written again, behind the pages, as there is no room for more tags where it is.
    """
    from PIL.Image import Exif

    with path.open("r+b") as file:
        order = "<" if file.read(2) == b"II" else ">"
        file.seek(4)
        (start,) = struct.unpack(f"{order}L", file.read(4))
        entries, following = _directory(file, start, order)
        tags = Exif()
        tags.load(exif)
        tags.endian = order
        place = _end(file)
        file.write(tags.tobytes(place)[_HEADER:])  # in it are the values, which the entries point to
        entries = _directory(file, place, order)[0] | entries
        place = _end(file)
        file.write(struct.pack(f"{order}H", len(entries)))
        file.write(b"".join(entries[tag] for tag in sorted(entries)))
        file.write(struct.pack(f"{order}L", following))
        file.seek(4)
        file.write(struct.pack(f"{order}L", place))


def _directory(file: BinaryIO, place: int, order: str) -> tuple[dict[int, bytes], int]:
    """Return the entries of a directory by their tags, and where the next directory is."""
    file.seek(place)
    (count,) = struct.unpack(f"{order}H", file.read(2))
    entries = [file.read(12) for _ in range(count)]
    (following,) = struct.unpack(f"{order}L", file.read(4))
    return {struct.unpack(f"{order}H", entry[:2])[0]: entry for entry in entries}, following


def _end(file: BinaryIO) -> int:
    """Go to the end of a file, and return where that is: at an even number, as directories have to be."""
    if file.seek(0, os.SEEK_END) % 2:
        file.write(b"\0")
    return file.tell()
