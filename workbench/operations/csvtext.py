"""What a CSV doesn't say of itself, its encoding and its delimiter, told where there is no doubt; and its lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from workbench.core.errors import InvalidArguments

SAMPLE = 1 << 20
"""Bytes that are looked at to start with."""

DELIMITERS = (",", ";", "\t", "|")
_ROWS = 200  # that have to agree on a delimiter

_MARKS = (  # of a byte order; UTF-32's before UTF-16's, which it begins with
    (codecs.BOM_UTF8, "utf8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN = re.compile(r"(?<![^\x00-\x7f])[^\x00-\x7f]+")
_MISPLACED = re.compile(r"[£²³¹±][^\W\d_]|[^\W\d_][¿¡]")
_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿŒœŠšŽžŸ")
_SIGNS = frozenset("€£§°©®«»‘’“”„‚–—…·•±²³µ¿¡ºª™\u00a0")  # noqa: RUF001 - the ones that occur in text
_LONGEST = 2  # letters beyond ASCII in a row, in languages of western Europe, and then not alone


def encoding_of(sample: bytes, *, whole: bool = False) -> str | None:
    """Tell the encoding of text.

    Parameters
    ----------
    sample
        How it begins.
    whole
        Whether this is all of it; otherwise the last character may be cut.

    Returns
    -------
    str or None
        `utf8`, `utf-16`, `utf-32` or `cp1252`, of which Latin-1's printable characters are a part. None where it could
        as well be another one. The last is an assumption, and whoever takes it tells so: words of a few letters beyond
        ASCII can be words in two of these code pages, and only who speaks the language knows which.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\0" in sample:
        return _without_mark(sample)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, whole)
    except UnicodeDecodeError:
        return "cp1252" if is_western(sample) else None
    return "utf8"


def _without_mark(sample: bytes) -> str | None:
    """Tell UTF-16 by where its zeros are: every other byte of text that is mostly ASCII."""
    pairs = len(sample) // 2
    for zeros, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if sample[zeros::2].count(0) > 0.7 * pairs and not sample[1 - zeros :: 2].count(0):
            return encoding
    return None


def is_western(sample: bytes) -> bool:
    """Tell whether bytes can be text in Windows's code page 1252, or Latin-1.

    Other alphabets' bytes would make runs of accented letters, or words of nothing else, or signs within words. So
    would many words of Latin letters in other code pages (`Łódź`, `žluť`), and as many would not (`Dvořák`, `Poznań`).
    """
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    for found in _FOREIGN.finditer(text):
        run = found[0]
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        beside = before.isalpha() or after.isalpha()
        inside = before.isalpha() and after.isalpha()
        if _MISPLACED.search(before + run + after):
            return False
        if len(run) > _LONGEST or not _LETTERS.union(_SIGNS).issuperset(run):
            return False
        if len(run) > 1 and run.isalpha() and not beside:
            return False
        if inside and not _LETTERS.union("’·\u00a0–—").issuperset(run):  # noqa: RUF001
            return False
    return True


def delimiter_of(text: str) -> str | None:
    """Tell the delimiter of a CSV that isn't separated by commas.

    Parameters
    ----------
    text
        How the file begins; its last line may be cut.

    Returns
    -------
    str or None
        The only one by which all of the first rows have equally many fields, two or more, if there are two such rows.
        None where that is the comma, or not certain.
    """
    lines = text.splitlines(keepends=True)
    if text and not text.endswith(("\n", "\r")):
        lines.pop()
    fitting = [mark for mark in DELIMITERS if _fits(lines, mark)]
    return fitting[0] if len(fitting) == 1 and fitting[0] != "," else None


def _fits(lines: list[str], delimiter: str) -> bool:
    counts = []
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                counts.append(len(row))
            if len(counts) == _ROWS:
                break
    except csv.Error:
        return False
    return len(counts) > 1 and counts[0] > 1 and len(set(counts)) == 1


def lines_of(texts: Sequence[str], file: Iterable[str]) -> Iterator[int]:
    """Yield the number of the line where each text begins, in the order they occur in.

    Parameters
    ----------
    texts
        Rows as they are written, of one line or several.
    file
        The lines of the file.
    """
    starts = [text.partition("\n")[0].rstrip("\r") for text in texts]
    found = 0
    for number, line in enumerate(file, 1):
        if found == len(starts):
            return
        if line.rstrip("\r\n") == starts[found]:
            yield number
            found += 1
    for _ in starts[found:]:  # not as they are written: never seen, but then no reason to fail
        yield 0


def text_lines(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """Return the lines of a file as text, with their ends. Arrow is who refuses what the encoding doesn't allow."""
    return io.TextIOWrapper(file, encoding="utf-8-sig" if is_utf8(encoding) else encoding, errors="replace", newline="")


def is_utf8(encoding: str) -> bool:
    """Tell whether an encoding's name is one of UTF-8's."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def check_delimiter(delimiter: str, what: str) -> str:
    """Return a delimiter; raise `InvalidArguments` if it can't be one."""
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InvalidArguments(
            f"{what}: takes one ASCII character other than a quote or a line's end, got {delimiter!r}"
        )
    return delimiter


def check_encoding(encoding: str) -> str:
    """Return an encoding's name; raise `InvalidArguments` if Python knows no encoding of text of that name."""
    try:
        "".encode(encoding)
        return "utf8" if is_utf8(encoding) else encoding
    except LookupError:
        raise InvalidArguments(f"encoding: {encoding!r} is not known; such are 'utf8', 'latin-1', 'cp1252'") from None


def kept_as_text(cells: Any, schema: Any) -> list[str]:
    """Return the columns that Arrow's types don't hold as they are written.

    These are whole numbers too long for 64 bits, of which it makes floats; hexadecimal ones; and `1` and `0` beside
    words for truth values.

    Parameters
    ----------
    cells
        Rows, as text: a `pyarrow.RecordBatch`.
    schema
        The types that were found of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for field in schema:
        cell = pc.drop_null(cells.column(field.name)) if field.name in cells.schema.names else ()
        if not len(cell):
            continue
        if pa.types.is_floating(field.type):
            kept = pc.all(pc.match_substring_regex(cell, r"^\s*[+-]?\d+\s*$")).as_py()
        elif pa.types.is_integer(field.type):
            kept = pc.any(pc.match_substring(cell, "0x", ignore_case=True)).as_py()
        elif pa.types.is_boolean(field.type):
            digits = pc.is_in(cell, pa.array(["0", "1"]))
            kept = pc.any(digits).as_py() and not pc.all(digits).as_py()
        else:
            kept = False
        if kept:
            found.append(field.name)
    return found
