"""Workbooks are ZIP archives of XML: what one unfolds to, looked at before a reader written in Rust does.

Where memory runs out, that reader (calamine) ends its process. It makes a rectangle of all cells up to the last row and
column, so that two cells in opposite corners of a sheet are seventeen thousand millions of them; and it unpacks what is
there, whatever the archive says about its size.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from workbench.core.errors import InputError
from workbench.values import bounds

CELL = 64
"""Bytes of memory that a cell of the rectangle takes, twice over while it is read."""
_CHUNK = 1 << 20
_LOCAL = 30  # bytes of a member's header in front of its name
# What calamine would take it for, whatever its name: cells are repeated there by a number, or written in bytes.
_OTHERS = {"content.xml": "an OpenDocument spreadsheet", "xl/workbook.bin": "a binary workbook (.xlsb)"}
# The opening tag of a row or cell, with its place where it names one. A tag may hold a ">" in quotes, but no "<".
_TAG = re.compile(
    rb"""<(?:\w+:)?(row|c)(?=[\s/>])(?:(?:[^<>"'r]|(?<!\s)r|r(?!\s*=)|"[^"<]*"|'[^'<]*')*\sr\s*=\s*["']([A-Za-z]{0,3})([0-9]{1,7}))?"""
)


def check_workbook(path: Path, name: str) -> None:
    """Refuse a workbook that doesn't fit into memory.

    Parameters
    ----------
    path
        An .xlsx file.
    name
        Its name, for the message.

    Raises
    ------
    InputTooLarge
        If a part of it, unpacked, or a sheet's rectangle of cells won't fit.
    InputError
        If it is no ZIP archive, or says something else of itself than it holds.
    """
    room = bounds.room()
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members = archive.infolist()
            for member in members:
                if (kind := _OTHERS.get(member.filename.lower().strip("/"))) is not None:
                    raise InputError(f"{name} is {kind}, by another name. Open it, and save it as .xlsx")
            if sum(member.file_size for member in members) > room:
                raise bounds.too_large(name, "what it unpacks to")
            for member in members:
                _check_member(file, member, name, room)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InputError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise InputError(f"{name} is not a workbook: {error}. Save it again in Excel, or get it again") from error


def _check_member(file: BinaryIO, member: zipfile.ZipInfo, name: str, room: int) -> None:
    """Unpack a member, as far as it says to go, and one byte further."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{name}: its part {member.filename} is packed in a way that Excel doesn't use. Save it again")
    file.seek(member.header_offset)
    header = file.read(_LOCAL)
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS) if member.compress_type == zipfile.ZIP_DEFLATED else None
    extent = _Extent()  # of any part: a workbook says itself which ones are its sheets
    packed, size = member.compress_size, 0
    while packed > 0 and (data := file.read(min(packed, 1 << 16))):
        packed -= len(data)
        while data:
            part = unpacker.decompress(data, _CHUNK) if unpacker else data
            data = unpacker.unconsumed_tail if unpacker else b""
            size += len(part)
            if size > member.file_size:
                raise InputError(
                    f"{name}: its part {member.filename} is larger than the archive says. Such a file is refused as a "
                    "decompression bomb: save it again in Excel"
                )
            extent.feed(part)
    if extent.of_sheet and extent.cells * CELL > room:
        raise bounds.too_large(
            name,
            f"the sheet in {member.filename}, whose last cell is in row {extent.rows:,} and column {extent.columns:,}, "
            "with all that lies before it,",
        )


class _Extent:
    """How far a sheet's cells reach. One that doesn't name its place is one further than the one before."""

    def __init__(self) -> None:
        self.rows = self.columns = 0
        self.of_sheet = False  # else its tags mean something else, as in xl/calcChain.xml
        self._row = self._place = 0
        self._rest = b""

    @property
    def cells(self) -> int:
        """The rectangle's."""
        return self.rows * self.columns

    def feed(self, part: bytes) -> None:
        """Look at the next bytes of the XML; what follows the last `<` is looked at with those after it."""
        text = self._rest + part
        self.of_sheet = self.of_sheet or b"sheetData" in text
        cut = text.rfind(b"<")
        if cut < 0 or len(text) - cut > _CHUNK:  # no tag is so long
            cut = len(text)
        self._rest = text[cut:]
        tags = _TAG.findall(text, 0, cut)
        if all(row for _, _, row in tags):
            self.rows = max(self.rows, max((int(row) for _, _, row in tags), default=0))
            self.columns = max(self.columns, max(map(_column, {letters for _, letters, _ in tags}), default=0))
            if tags:
                self._row, self._place = int(tags[-1][2]), _column(tags[-1][1])
            return
        for kind, letters, row in tags:
            if kind == b"row":
                self._row, self._place = int(row) if row else self._row + 1, 0
            else:
                self._place = _column(letters) if letters else self._place + 1
                self._row = int(row) if row else self._row
            self.rows, self.columns = max(self.rows, self._row), max(self.columns, self._place)


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number
