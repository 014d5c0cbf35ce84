"""JSON arrays of records, cut into JSON Lines block by block, so that the array is never in memory as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from workbench.core.errors import InputError
from workbench.operations.tabular import Source

LONGEST_RECORD = 64 << 20
"""Bytes: what has no end within so many is no table."""

_TRIES = 4  # of ends of records, from the end of a block, before it is read sign by sign
_END = re.compile(rb"\}\s*,")
_REST = re.compile(rb"\s*+\Z")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', re.DOTALL)


def blocks(file: BinaryIO, source: Source, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of records, one a line, with the number of the first one.

    Parameters
    ----------
    file, source
        `[{…}, {…}]`, in UTF-8.
    size
        Bytes that are read at once.

    Raises
    ------
    InputError
        If it is something else, or cut short, or a record is longer than `LONGEST_RECORD` or nested too deeply.
    """
    text = file.read(size).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"["):
        raise InputError(
            f"{source.name} is no array of records, [{{…}}, {{…}}]"
            + (": one record a line is JSON Lines, whose files end in .jsonl. Rename it" if text[:1] == b"{" else "")
        )
    text, number, scan = text[1:], 1, _Scan()
    while more := file.read(size):
        fresh, text = len(text), text + more
        ready, end = _whole_records(text, fresh, scan, source, number)
        if ready:
            yield number, b"\n".join(ready) + b"\n"
            number += len(ready)
            text, scan = text[end:], _Scan()
        elif len(text) > LONGEST_RECORD:
            raise InputError(f"{source.name}, record {number}: it has no end within {LONGEST_RECORD >> 20} MiB")
    rest = text.rstrip()
    if not rest.endswith(b"]"):
        raise InputError(f"{source.name} ends after record {number}, without a ]. It is cut short: get the file again")
    if records := _records(rest[:-1], source, number, last=True):
        yield number, b"\n".join(records) + b"\n"


class _Scan:
    """How far a text without the end of a record was looked through: what is read again and again takes forever."""

    def __init__(self) -> None:
        self.place = 0
        self.depth = 0  # of brackets, there

    def end(self, text: bytes) -> int:
        """Return where what follows the last whole record begins; 0 where there is none."""
        end = 0
        for token in _TOKEN.finditer(text, self.place):
            self.place = token.end()
            match token[0]:
                case b"{" | b"[":
                    self.depth += 1
                case b"}" | b"]":
                    self.depth -= 1
                    if self.depth == 0:
                        if found := _END.match(text, token.start()):
                            end = found.end()
                        elif _REST.match(text, token.end()):  # its comma may be in the next block
                            self.place, self.depth = token.start(), 1
                            break
                case b'"':  # text that goes on in the next block
                    self.place = token.start()
                    break
        return end


def _whole_records(text: bytes, fresh: int, scan: _Scan, source: Source, number: int) -> tuple[list[bytes], int]:
    """Return the records that end in a text, which is new from `fresh` on, and where what follows them begins."""
    end = len(text)
    for _ in range(_TRIES):
        while (end := text.rfind(b"}", fresh, end)) >= 0:
            if found := _END.match(text, end):
                break
        if end < 0:
            break
        # Only where a record ends do brackets and quotes before it match.
        if (records := _records(text[: end + 1], source, number)) is not None:
            return records, found.end()  # type: ignore[union-attr]
    end = scan.end(text)
    return (_records(text[: end - 1], source, number, last=True) or [], end) if end else ([], 0)


def _records(text: bytes, source: Source, number: int, *, last: bool = False) -> list[bytes] | None:
    """Return the records of a text that holds whole ones; None if it doesn't, which is an error in the `last` one."""
    import msgspec

    try:
        found: list[Any] = msgspec.json.decode(b"[" + text + b"]", type=list[msgspec.Raw])
    except RecursionError:
        raise too_deep(source) from None
    except msgspec.DecodeError as error:
        if not last:
            return None
        raise InputError(
            f"{source.name}, record {number} or after: {error}. Correct it, or get the file again"
        ) from error
    # A line's end is white space in JSON, as text has it as \n.
    return [bytes(record).replace(b"\r", b" ").replace(b"\n", b" ") for record in found]


DEEPEST = 64


def check_nesting(type_: Any, source: Source, depth: int = 0) -> None:
    """Raise `InputError` if a type is nested beyond `DEEPEST` levels."""
    if depth > DEEPEST:
        raise too_deep(source)
    import pyarrow as pa

    if pa.types.is_list(type_):
        check_nesting(type_.value_type, source, depth + 1)
    elif pa.types.is_struct(type_):
        for field in type_:
            check_nesting(field.type, source, depth + 1)


def too_deep(source: Source) -> InputError:
    """Make the error for what is nested too deeply."""
    return InputError(
        f"{source.name}: its values are nested in more than {DEEPEST} levels of arrays and objects, which is no table. "
        "Flatten it first"
    )
