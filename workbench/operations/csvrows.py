"""CSV as text: its encoding, its delimiter, its rows and their lines, as far as Arrow's reader doesn't tell them."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator
from typing import Any

from workbench.core.errors import InputError
from workbench.operations import context, csvtext
from workbench.operations.tabular import Options, Source, not_utf8, unzipping

_NEWLINE = "\n"
_WHOLE = re.compile(r"\s*([+-]?\d+)?\s*|\D*")  # a number without a fraction, or something that stands for none
_LOOKED_AT = 100  # rows
_BLANK = b"\r\n\0"  # zeros: in UTF-16
_TOLD = {
    "cp1252": "cp1252 (with Latin-1) is assumed: the bytes are no UTF-8, and make words of western Europe. Those of "
    "cp1250 or Latin-2 can do so too: if letters look wrong, pass encoding="
}


class CsvText:
    """A CSV file as text.

    Parameters
    ----------
    source
        The file.
    options
        What its reader was told of it.

    Raises
    ------
    InputError
        If it is empty, begins with blank lines without end, or its encoding can't be told.
    """

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._check_beginning()
        self.encoding = options.encoding or self._told_encoding()
        self.delimiter = options.delimiter or self._told_delimiter()

    def settle(self) -> None:
        """Tell the encoding by the whole file."""
        self.encoding = self._told_encoding(whole=True)

    def header(self) -> list[str]:
        """Return the columns' names."""
        header = next((row for _, row in self.rows()), None)
        if header is None:
            raise InputError(
                f"{self._source.name} is empty: there is no header to name the columns, or a name in it is longer than "
                f"{csv.field_size_limit():,} characters. Write it again"
            )
        return header

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield rows with the number of the line they start on, read slowly by Python; blank lines are left out."""
        try:
            with unzipping(self._source), csvtext.text_lines(self._source.open(), self.encoding) as file:
                rows = csv.reader(file, delimiter=self.delimiter)
                line = 1
                for row in rows:
                    if row:
                        yield line, row
                    line = rows.line_num + 1
        except UnicodeError as error:
            raise not_utf8(self._source, self.encoding) from error
        except csv.Error:  # a field beyond the module's limit: the place isn't found
            return

    def may_change(self, schema: Any, names: list[str]) -> bool:
        """Tell whether types that were found of the first block may be such as change what is written.

        See `csvtext.kept_as_text`, which looks closer, and takes as long as reading the block does.
        """
        import pyarrow as pa

        if any(pa.types.is_boolean(field.type) for field in schema):
            return True
        with unzipping(self._source), self._source.open() as file:
            sample = file.read(csvtext.SAMPLE)
        if _names_hexadecimals(sample):
            return True
        places = {name: place for place, name in enumerate(names)}
        floats = [places[field.name] for field in schema if pa.types.is_floating(field.type)]
        # Of the sample only: in a file of blank lines no number of rows would be an end.
        text = codecs.getincrementaldecoder(self.encoding)("replace").decode(sample[: csvtext.SAMPLE >> 2])
        try:
            rows = list(itertools.islice(csv.reader(text.splitlines(), delimiter=self.delimiter), 1, _LOOKED_AT))
        except csv.Error:  # a field beyond the module's limit
            return True
        return any(all(_WHOLE.fullmatch(row[place]) for row in rows if place < len(row)) for place in floats)

    def check_end(self, value: object) -> None:
        """Refuse a file whose last field, `value`, goes on to its end over lines, as its quote isn't closed.

        Arrow doesn't: it would be one field, of all the rows that follow.
        """
        if not isinstance(value, str) or _NEWLINE not in value:
            return
        lines, tail = 0, b""
        with unzipping(self._source), self._source.open() as file:
            for line in file:
                lines += 1
                tail = line if line.strip(_BLANK) else tail
        if not tail.rstrip(_BLANK).endswith(b'"'):
            raise InputError(
                f"{self._source.name}, line {lines - value[:-1].count(_NEWLINE):,}: a quote isn't closed, so that "
                "everything after it would be one field. Close it, or get the file again"
            )

    def _told_encoding(self, *, whole: bool = False) -> str:
        """Return what the file's first bytes, or all of them, leave no doubt of."""
        with unzipping(self._source), self._source.open() as file:
            sample = file.read(csvtext.SAMPLE)
            encoding = csvtext.encoding_of(sample, whole=len(sample) < csvtext.SAMPLE)
            if encoding == "utf8" and whole:
                decoder, western = codecs.getincrementaldecoder("utf-8")(), True
                while sample and encoding == "utf8":
                    try:
                        decoder.decode(sample)
                    except UnicodeDecodeError:
                        encoding = None
                    else:
                        sample = file.read(csvtext.SAMPLE)
                while sample and encoding is None and western:
                    western = csvtext.is_western(sample)
                    sample = file.read(csvtext.SAMPLE)
                encoding = encoding or ("cp1252" if western else None)
        if encoding is None:
            raise not_utf8(self._source, "utf8")
        if encoding != "utf8":
            context.note(f"encoding of {self._source.name}", _TOLD.get(encoding, f"{encoding}, as its bytes say"))
        return encoding

    def _check_beginning(self) -> None:
        """Refuse blank lines in front of the header or the first row that Arrow would never see the end of."""
        with unzipping(self._source), self._source.open() as file:
            rest = file.read(csvtext.SAMPLE).lstrip(_BLANK)
            if not rest and file.read(1):
                raise InputError(
                    f"{self._source.name} begins with {csvtext.SAMPLE:,} bytes of blank lines or more, and no header. "
                    "Remove them, or get the file again"
                )
            if self._source.zipped is not None:  # perhaps a bomb: whoever reads it counts, and Arrow can't be asked to
                rest = rest[rest.find(b"\n") :].lstrip(_BLANK)
                while not rest and (part := file.read(csvtext.SAMPLE)):
                    rest = part.lstrip(_BLANK)

    def _told_delimiter(self) -> str:
        if self._source.format == "tsv":
            return "\t"
        with unzipping(self._source), self._source.open() as file:
            sample = file.read(csvtext.SAMPLE >> 2)
        text = codecs.getincrementaldecoder(self.encoding)("replace").decode(sample)
        delimiter = csvtext.delimiter_of(text)
        if delimiter is not None:
            context.note(f"delimiter of {self._source.name}", f"{delimiter!r}, by which all of its first rows agree")
        return delimiter or ","


def _names_hexadecimals(sample: bytes) -> bool:
    """Tell whether something in text begins like a hexadecimal number."""
    for mark in (b"0x", b"0X"):
        place = sample.find(mark)
        while place >= 0:
            if not sample[max(0, place - 1) : place].isalnum():
                return True
            place = sample.find(mark, place + 1)
    return False
