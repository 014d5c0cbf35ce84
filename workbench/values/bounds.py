"""What reading a table may cost, held against what there is before it is spent.

A slot's memory limit ends whatever slips through: these bounds are there so that a small file that unfolds into a large
table is refused at once, by its name, and with what to do instead.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import resource
from pathlib import Path
from typing import Any, BinaryIO

from workbench.core.errors import InputError, InputTooLarge
from workbench.values.refs import size_text

COLUMNS = 100_000
"""Columns a table of text may have: each costs its reader some kilobytes, whatever is in it."""
LINE = 64 << 20
"""Bytes a line of text may have: its reader holds all of it."""
DEPTH = 500
"""How deep JSON may be nested: some thousands of levels are more than Arrow's reader has stack for."""
_PART = 1 << 18  # bytes of text that are counted at once
_BLOCK = 1 << 20  # bytes of text that Arrow parses at once, if all lines are shorter

# Bytes that Arrow's readers take at their worst, as measured with version 26: for a byte of text (as read, parsed, and
# in a buffer that doubles as it grows) and for a field or element (its place and its value); for a column, its part in
# each block, and a row of JSON that lacks it; and the blocks that they read ahead.
_MADE_OF_BYTE, _MADE_OF_CELL, _MADE_OF_COLUMN, _MADE_OF_PIECE, _MISSING, _AHEAD = 4, 12, 10_000, 1200, 16, 10
_STEP = 8 << 20  # bytes of text after which it is looked at what memory is left


def room() -> int:
    """Return the bytes of memory this process may still take: up to its own limit, and of what the host has left."""
    bytes_left = _kilobytes("/proc/meminfo", "MemAvailable") or 1 << 62
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit != resource.RLIM_INFINITY:
        bytes_left = min(bytes_left, limit - _kilobytes("/proc/self/status", "VmData"))
    return max(0, bytes_left)


def _limit() -> int:
    """Return the bytes of memory this process may take at all."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return limit if limit != resource.RLIM_INFINITY else _kilobytes("/proc/meminfo", "MemTotal")


def _kilobytes(path: str, name: str) -> int:
    """Return a size that the kernel tells, in bytes; 0 where it doesn't."""
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def too_large(name: str, what: str = "it") -> InputTooLarge:
    """Make the error for what doesn't fit."""
    return InputTooLarge(
        f"{name}: {what} doesn't fit into the memory this process may use ({size_text(_limit())}). Convert, filter or "
        "aggregate it without loading it whole (convert.table, data.sql), give the task a part of it, or the worker a "
        "higher --memory-limit"
    )


# --- tables that say how large they are -------------------------------------------------------------


def check_rows(name: str, rows: int, schema: Any) -> None:
    """Refuse a table whose rows, each at its smallest, take more memory than there is.

    Parameters
    ----------
    name
        For the message.
    rows
        As many as it says to have: runs and dictionaries hold hundreds of millions in a megabyte.
    schema
        Its `pyarrow.Schema`.

    Raises
    ------
    InputTooLarge
        If it won't fit.
    """
    size = rows * sum(_width(field.type) for field in schema)
    if size > room():
        columns = f"{len(schema):,} column{'s' if len(schema) != 1 else ''}"
        raise too_large(name, f"a table of {rows:,} rows and {columns}, at least {size_text(size)},")


def _width(kind: Any) -> float:
    """Return the least bytes that one value takes."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _width(kind.index_type)
    if pa.types.is_struct(kind):
        return sum(_width(kind.field(index).type) for index in range(kind.num_fields))
    try:
        return float(kind.bit_width / 8)
    except ValueError:  # as long as its values are; its offset at least
        return 4.0


# --- text -------------------------------------------------------------------------------------------


class Watched(io.RawIOBase):
    """A file that is read through this, with a look at what comes.

    Parameters
    ----------
    file
        Read from; closed by whoever opened it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Tell whether the file is."""
        return self._file.seekable()

    def tell(self) -> int:
        """Return where it is."""
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        """Read, and look."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._look(data)
        return len(data)

    def _look(self, data: bytes) -> None:
        raise NotImplementedError


class BoundedText(Watched):
    """A file of text that ends with an error where a line, or all that is made of it, is too large to be held.

    Where memory runs out pandas speaks of a parser's error: so it isn't let come to that, and nothing more is read once
    seven eighths of the memory are used.

    Parameters
    ----------
    file
        Read from; closed by whoever opened it.
    name
        For the message.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__(file)
        self._name = name
        self._reserve = room() // 8
        self._read = self._line = self._looked = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere: what was read counts no more."""
        self._read = self._line = self._looked = 0
        return self._file.seek(offset, whence)

    def _look(self, data: bytes) -> None:
        self._read += len(data)
        newline = data.rfind(b"\n")
        self._line = self._line + len(data) if newline < 0 else len(data) - newline - 1
        if self._line > LINE:
            raise InputTooLarge(
                f"{self._name}: a line of it is longer than {size_text(LINE)}. It is not a table, or its lines don't "
                "end in newlines: write it again"
            )
        if self._read > self._looked + _STEP:
            self._looked = self._read
            if room() < self._reserve:
                raise too_large(self._name, f"it has more than {size_text(self._read)} of text, and what is made of it")


def bounded_text(file: BinaryIO, name: str) -> io.BufferedReader:
    """Read text within bounds: see `BoundedText`."""
    return io.BufferedReader(BoundedText(file, name), 1 << 18)


def check_header(file: BinaryIO, separator: bytes, name: str) -> int:
    """Return how many columns the first line of text names, if a reader can take so many; leave it at its beginning."""
    columns = file.readline().count(separator) + 1
    file.seek(0)
    check_columns(columns, name)
    return columns


def check_delimited(file: BinaryIO, columns: int, separator: bytes, name: str) -> int:
    """Refuse delimited text of which Arrow would make more than there is memory for; leave the file at its beginning.

    Arrow's readers call `abort` where memory runs out, and what they make of text grows faster than can be looked
    after. So all of the text is counted before the reader sees any.

    Parameters
    ----------
    file
        The text: see `bounded_text`.
    columns
        As many as `check_header` has found.
    separator
        Between two fields of a row.
    name
        For the message.

    Returns
    -------
    int
        The bytes that a block has to have so that any line fits into one.

    Raises
    ------
    InputTooLarge
        If it won't fit, or a line is too long.
    """
    most = room() * 7 // 8
    size = cells = line = longest = 0
    while True:
        part = file.read(_PART)
        size += len(part)
        cells += occurrences(part, separator + b"\n\r")
        line += len(part)
        if (last := part.rfind(b"\n")) >= 0:  # those between the first and the last are shorter than a block anyway
            longest = max(longest, line - len(part) + part.find(b"\n"))
            line = len(part) - last - 1
        block = max(_BLOCK, longest + 1, 0 if part else line + 1)
        whole = size - line if part else size  # a line that never ends has an error of its own
        made = _MADE_OF_BYTE * whole + _MADE_OF_CELL * cells + _AHEAD * min(whole, block)
        made += columns * (_MADE_OF_COLUMN + _MADE_OF_PIECE * (size // block))
        if made > most:
            raise too_large(name, f"it has {size_text(size)} of text or more, and what is made of it")
        if not part:
            file.seek(0)
            return block


def check_width(name: str, columns: int, each: int, what: str) -> None:
    """Refuse a table of more columns than there is memory for, whatever is in them.

    Parameters
    ----------
    name
        For the message.
    columns
        As many as it has.
    each
        Bytes that one takes.
    what
        What takes them.

    Raises
    ------
    InputTooLarge
        If it won't fit.
    """
    if columns * each > room():
        raise too_large(name, f"a table of {columns:,} columns, for each of which {what} takes {size_text(each)},")


def occurrences(text: bytes, any_of: bytes) -> int:
    """Count bytes, several times as fast as `bytes.count`, which stops at each that it finds."""
    import numpy as np

    numbers = np.frombuffer(text, np.uint8)
    return sum(int(np.count_nonzero(numbers == each)) for each in any_of)


def check_columns(columns: int, name: str) -> None:
    """Refuse more columns than `COLUMNS`."""
    if columns > COLUMNS:
        raise InputTooLarge(
            f"{name} has {columns:,} columns, and a table of text may have {COLUMNS:,}. Write it with a row for each "
            "value instead of a column, or as Parquet"
        )


def check_depth(lines: bytes, name: str) -> None:
    """Refuse lines of JSON that are nested so deeply that a reader in C++, Arrow's, would overrun the stack.

    Parameters
    ----------
    lines
        Whole ones. They needn't be JSON: its reader says where they are wrong.
    name
        For the message.

    Raises
    ------
    InputError
        If one goes deeper than `DEPTH`.
    """
    if _brackets_within(lines) < DEPTH:
        return
    for line in lines.split(b"\n"):  # at nothing else: a carriage return may stand between two brackets
        if len(line) > DEPTH and line.count(b"[") + line.count(b"{") > DEPTH and _depth(line) > DEPTH:
            raise nested(name)


def _brackets_within(lines: bytes) -> int:
    """Return how many opening brackets there are besides those that a line begins with: none, in flat records."""
    import numpy as np

    signs = np.frombuffer(lines, np.uint8)
    opening = (signs | 0x20) == ord("{")  # [ and {
    first = np.count_nonzero(opening[1:] & (signs[:-1] == ord("\n"))) + np.count_nonzero(opening[:1])
    return int(np.count_nonzero(opening) - first)


def _depth(line: bytes) -> int:
    brackets = re.findall(rb"[\[\]{}]", _STRING.sub(b"", line))
    return max(itertools.accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)


# A text, also one without an end, which would otherwise be looked for again from each quote in it; then its colon.
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)(?:"\s*+(:)?|\\?\Z)', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def nested(name: str) -> InputError:
    """Make the error for what is nested too deeply."""
    return InputError(f"{name} is nested too deeply to be a table: no row of one goes so deep. Get the file again")


def check_json_lines(file: BinaryIO, name: str) -> int:
    """Do for lines of JSON what `check_delimited` does for rows, and refuse deep ones (`check_depth`)."""
    most = room() * 7 // 8
    size = cells = rows = longest = 0
    keys: set[bytes] = set()
    while part := file.read(_BLOCK):
        part += file.readline()
        check_depth(part, name)
        size += len(part)
        rows += part.count(b"\n")
        cells += part.count(b",") + part.count(b":") + part.count(b"\n")
        keys.update(key for key, colon in _KEY.findall(part) if colon)
        check_columns(len(keys), name)
        longest = max(longest, len(part))
        made = _MADE_OF_BYTE * size + _MADE_OF_CELL * cells + _AHEAD * longest
        made += len(keys) * (_MADE_OF_COLUMN + _MADE_OF_PIECE * (size // _BLOCK) + _MISSING * rows)
        if made > most:
            raise too_large(name, f"it has {size_text(size)} of text or more, and what is made of it")
    file.seek(0)
    return max(_BLOCK, longest + 1)
