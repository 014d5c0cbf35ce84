"""CSV, read: a reader whose types fit the whole file, and whose errors name the line."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from workbench.core.errors import InputError
from workbench.operations import context, csvpieces, csvtext, reading
from workbench.operations.csvrows import CsvText
from workbench.operations.tabular import (
    NULLS,
    BadRow,
    Contradicted,
    Options,
    Source,
    check_known,
    check_names,
    damaged,
    join_types,
    not_utf8,
    note_wider,
    unzipping,
)
from workbench.values import bounds, frugality
from workbench.values.refs import size_text
from workbench.values.unpacking import bomb, most_of

logger = logging.getLogger(__name__)

BLOCK = 1 << 20
"""Bytes that are parsed at once: what the first one suggests are the types to start with."""
LONGEST = 64 << 20
"""Bytes of a row: where one is longer than a block, that many are parsed at once."""
_BLOCKS = 32  # that may be in memory together: Arrow reads ahead, and what it parses into grows by doubling
WIDTH = 35_000
"""Bytes that a column takes while it is read, whatever is in it, with room for what waits to be written."""

MOST_BAD_ROWS = 100_000
"""Rows that may be left out of one file: more of them are no exceptions."""
MOST_BAD_TEXT = 64 << 20
"""Characters that they may have together: they are kept, to be told."""


class CsvReader:
    """Reads a CSV file. Types come from the first block, or after `settle` from all rows."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._options = options
        self._types = dict(options.column_types)
        self._schema: Any = None  # of the first reading
        self._settled = False
        self._block = BLOCK
        self._left_out: list[Any] = []
        self._text = CsvText(source, options)
        self._names = self._text.header()
        check_names(self._names, source)
        check_known(options.column_types, self._names, source, "column_types")
        bounds.check_width(source.name, len(self._names), WIDTH, "reading it")

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches. Iterating may raise `Contradicted`."""
        import pyarrow as pa

        if self._options.as_text:
            self._types |= {name: pa.string() for name in self._names if name not in self._types}
        quoted = self._options.quoted_strings_can_be_null
        if len(self._types) < len(self._names):
            # Arrow's reader takes half as long again where it looks for types itself, though it does so once.
            with self._opened(self._types, self._nulls(), quoted) as (schema, _):
                self._types = dict(zip(schema.names, schema.types, strict=True)) | self._as_written(schema)
        if any(map(pa.types.is_binary, self._types.values())):  # what Arrow infers for text that isn't UTF-8
            self._doubt_encoding()
        schema = pa.schema([(name, self._types[name]) for name in self._names])
        self._schema = self._schema or schema
        with contextlib.closing(self._read(dict(self._types), quoted)) as batches:
            yield schema, batches

    def _as_written(self, schema: Any) -> dict[str, Any]:
        """Return the columns that are read as text, as what was found of the first block would change them."""
        import pyarrow as pa

        found = pa.schema([field for field in schema if field.name not in self._types])
        if not self._text.may_change(found, self._names):
            return {}
        with self._opened({name: pa.string() for name in self._names}, self._nulls(), True) as (_, batches):
            first = next(iter(batches), None)
        kept = [] if first is None else csvtext.kept_as_text(first, found)
        if kept:
            context.note(f"types of {self._source.name}", f"text, as numbers would change them: {', '.join(kept[:20])}")
        return dict.fromkeys(kept, pa.string())

    def settle(self) -> None:
        """Find an encoding and types that fit every row: each block's types are inferred on their own, and joined."""
        import pyarrow as pa

        if self._options.encoding is None:
            self._text.settle()
        if not self._options.as_text:
            try:
                found = self._fitting()
            except Contradicted:  # the blocks were too small for a row
                found = self._fitting()
            self._types = found | dict(self._options.column_types)
            if self._schema is not None:
                note_wider(self._schema, pa.schema(list(self._types.items())), self._source)
        self._settled = True

    def fit(self, types: Mapping[str, Any]) -> None:
        """Read columns with these types from now on."""
        self._types |= types

    def bad_rows(self) -> Iterable[BadRow]:
        """Return the rows that the latest reading has left out."""
        rows, name = self._left_out, self._source.name
        if not rows:
            return []
        with unzipping(self._source), csvtext.text_lines(self._source.open(), self._text.encoding) as file:
            bad = [
                BadRow(line, f"it has {row.actual_columns} fields where {row.expected_columns} were expected", row.text)
                for row, line in zip(rows, csvtext.lines_of([row.text for row in rows], file), strict=True)
            ]
        lines = f"{', '.join(str(row.line) for row in bad[:10])}{'' if len(bad) <= 10 else ' …'}"
        context.note(f"bad rows of {name}", f"{len(bad)} left out, in lines {lines}")
        if self._options.on_bad_rows == "warn":
            for row in bad[:10]:
                logger.warning("%s, line %d: %s: left out", name, row.line, row.reason)
            logger.warning("%s: %d rows were left out", name, len(bad))
        return bad

    # --- inside -------------------------------------------------------------------------------------

    def _fitting(self) -> dict[str, Any]:
        """Return the types that fit every row."""
        import pyarrow as pa
        import pyarrow.csv as pacsv

        parse = pacsv.ParseOptions(newlines_in_values=True)
        convert = self._convert_options(self._options.column_types, self._nulls(), True)
        found: dict[str, Any] = {}
        with self._opened({name: pa.string() for name in self._names}, (), False) as (_, batches):
            for batch in batches:
                text = io.BytesIO()
                # Cells as they stand in the file, quoted or not: whether one was is of no matter for its type.
                pacsv.write_csv(batch, text)
                read = pacsv.ReadOptions(block_size=max(BLOCK, text.tell() + 1))
                text.seek(0)
                schema = pacsv.read_csv(text, read, parse, convert).schema
                kept = csvtext.kept_as_text(batch, schema)
                for field in schema:
                    type_ = pa.string() if field.name in kept else field.type
                    found[field.name] = join_types(found.get(field.name, pa.null()), type_, text=True)
        return found

    def _nulls(self) -> tuple[str, ...]:
        return NULLS if self._options.null_values is None else self._options.null_values

    def _read(self, types: Mapping[str, Any], quoted: bool) -> Generator[Any, None, None]:
        with self._opened(types, self._nulls(), quoted) as (_, batches):
            yield from batches

    @contextlib.contextmanager
    def _opened(
        self, types: Mapping[str, Any], nulls: tuple[str, ...], quoted: bool
    ) -> Iterator[tuple[Any, Iterator[Any]]]:
        import pyarrow as pa

        convert = self._convert_options(types, nulls, quoted)
        self._left_out, self._left_text = [], 0
        with frugality.for_width(len(self._names)):
            if self._goes_in_pieces(types):
                with contextlib.closing(self._by_pieces(convert)) as batches:
                    yield pa.schema([(name, types[name]) for name in self._names]), batches
                return
            with self._streamed(convert) as opened:
                yield opened

    @contextlib.contextmanager
    def _streamed(self, convert: Any, start: int = 0) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Read a block after the other: from the header on, or from the row that begins at `start`."""
        import pyarrow as pa
        import pyarrow.csv as pacsv

        names = self._names if start else None
        read = pacsv.ReadOptions(block_size=self._block, encoding=self._text.encoding, column_names=names)
        parse = pacsv.ParseOptions(
            delimiter=self._text.delimiter,
            newlines_in_values=True,
            invalid_row_handler=None if self._options.on_bad_rows == "error" else self._leave_out,
        )
        # Not closed here: a closed reader's threads read ahead for a moment, and would read on in whichever file has
        # got the descriptor since then. They share the stream, which closes with the last of them. Nor is it read
        # through Python, which such a thread must not call as the process ends.
        file = pa.input_stream(str(self._source.path), self._source.zipped)
        if start:
            file.seek(start)
        try:
            reader = pacsv.open_csv(file, read_options=read, parse_options=parse, convert_options=convert)
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
            if self._lengthened(error):
                with self._streamed(convert, start) as opened:
                    yield opened
                return
            if "cannot infer number of columns" not in str(error):
                self._explain(error)
            types = convert.column_types
            fields = [(name, types.get(name, pa.null())) for name in self._names]  # a header, and not even its end
            yield pa.schema(fields), iter(())
            return
        with reader:
            yield reader.schema, self._batches(reader)

    def _goes_in_pieces(self, types: Mapping[str, Any]) -> bool:
        return (
            len(types) == len(self._names)
            and self._source.zipped is None
            and self._text.encoding == "utf8"
            and self._options.on_bad_rows == "error"
            and self._source.path.stat().st_size > csvpieces.PIECE
            and bounds.room() > csvpieces.ROOM
        )

    def _by_pieces(self, convert: Any) -> Generator[Any, None, None]:
        """Yield the batches of pieces without quotes, then those of the rest."""
        import pyarrow as pa
        import pyarrow.csv as pacsv

        read = pacsv.ReadOptions(block_size=self._block, column_names=self._names)
        parse = pacsv.ParseOptions(delimiter=self._text.delimiter)
        with self._source.open() as file:
            start = csvpieces.skip_header(file)
            if start:
                with reading.ahead(csvpieces.pieces(file), most=1) as pieces:  # one that waits, however short it is
                    for piece in pieces:
                        try:
                            table = pacsv.read_csv(
                                pa.BufferReader(piece), read_options=read, parse_options=parse, convert_options=convert
                            )
                        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                            self._explain(error)
                        yield from table.to_batches()  # without quotes, so that there is none to be closed
                start = file.tell()
                if start == file.seek(0, io.SEEK_END):
                    return
        with self._streamed(convert, start) as (_, batches):
            yield from batches

    def _convert_options(self, types: Mapping[str, Any], nulls: tuple[str, ...], quoted: bool) -> Any:
        import pyarrow.csv as pacsv

        return pacsv.ConvertOptions(
            column_types=dict(types),
            decimal_point=self._options.decimal,
            null_values=list(nulls),
            strings_can_be_null=bool(nulls),
            quoted_strings_can_be_null=quoted,
        )

    def _leave_out(self, row: Any) -> str:
        self._left_out.append(row)
        self._left_text += len(row.text)
        return "error" if self._left_too_many() else "skip"

    def _left_too_many(self) -> bool:
        return len(self._left_out) > MOST_BAD_ROWS or self._left_text > MOST_BAD_TEXT

    def _batches(self, reader: Any) -> Iterator[Any]:
        import pyarrow as pa

        most = math.inf if self._source.zipped is None else most_of(self._source.path)
        read, last = 0, None
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                self._text.check_end(last.column(-1)[-1].as_py() if last is not None else None)
                return
            except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
                self._explain(error)
            if read > most:
                raise bomb(self._source.name, int(most))
            read += self._block  # of text: each makes a batch, of blank lines as well; only the last one is shorter
            if batch.num_rows:
                last = batch
                yield batch

    def _explain(self, error: Exception) -> None:
        """Raise what an error of Arrow's means here."""
        text = str(error)
        if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in text:
            self._doubt_encoding()
        if found := re.search(
            r"In CSV column #(\d+).*?conversion error to (.+?): invalid value '(.*)'", text, re.DOTALL
        ):
            position, type_, value = int(found[1]), found[2], found[3]
            if not self._settled and self._names[position] not in self._options.column_types:
                raise Contradicted(self._names[position]) from error
            raise self._bad_value(position, type_, value) from error
        if self._lengthened(error):
            raise Contradicted("rows") from error
        if self._left_too_many():
            raise InputError(
                f"{self._source.name}: more than {MOST_BAD_ROWS:,} rows (or {size_text(MOST_BAD_TEXT)} of them) have "
                "another number of fields than the header. Give the right separator with delimiter=, or get the file "
                "again"
            ) from error
        if found := re.search(r"Expected (\d+) columns, got (\d+)", text):
            raise self._bad_row(int(found[1]), int(found[2])) from error
        if isinstance(error, OSError):
            raise InputError(
                f"{self._source.name} can't be read: {text}. It is cut short or damaged: get the file again"
            ) from error
        damaged(self._source, text)

    def _lengthened(self, error: Exception) -> bool:
        """Take longer blocks, once, where the trouble is a row that is longer than one; return whether it is."""
        if "straddl" not in str(error):
            return False
        if self._block == BLOCK:
            self._block = max(BLOCK + 1, min(LONGEST, bounds.room() // _BLOCKS))
            return True
        line = 1
        with contextlib.suppress(MemoryError):
            for place, _ in self._text.rows():
                line = place
        raise InputError(
            f"{self._source.name}: a row after line {line:,} is longer than {size_text(self._block)}: most likely a "
            "quote in it isn't closed. Close it, or get the file again"
        ) from error

    def _bad_value(self, position: int, type_: str, value: str) -> InputError:
        name = self._names[position]
        line = next(
            (line for line, row in self._text.rows() if line > 1 and len(row) > position and row[position] == value), 0
        )
        where = f", line {line}" if line else ""
        return InputError(
            f"{self._source.name}{where}, column {name!r}: {value!r} is not {type_}. Correct it, "
            f"or read the column as text: column_types={{{name!r}: 'string'}}"
        )

    def _bad_row(self, expected: int, seen: int) -> InputError:
        line, count = next(((line, len(row)) for line, row in self._text.rows() if len(row) != expected), (0, seen))
        where = f", line {line}" if line else ""
        return InputError(
            f"{self._source.name}{where}: it has {count} fields where {expected} were expected, as the header has. "
            "Correct the row, quote the field that holds the separator, give the right one with delimiter=, or leave "
            "such rows out: on_bad_rows='skip'"
        )

    def _doubt_encoding(self) -> None:
        """Raise `Contradicted` where a look at the whole file may tell its encoding; an error otherwise."""
        if self._options.encoding is None and self._text.encoding == "utf8" and not self._settled:
            raise Contradicted("encoding")
        raise not_utf8(self._source, self._text.encoding)
