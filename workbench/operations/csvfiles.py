"""CSV: a reader whose types fit the whole file, and a writer that quotes only what needs it."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations.tabular import (
    Contradicted,
    Options,
    Source,
    Write,
    as_text,
    check_names,
    check_typed,
    damaged,
    join_types,
    not_utf8,
    unzipping,
)

BLOCK = 1 << 20
"""Bytes that are parsed at once: what the first one suggests are the types to start with."""

NULLS = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "None", "<NA>")
"""What stands for a missing value, unless it is in quotes: pandas's words without the exotic ones."""


class CsvReader:
    """Reads a CSV file. Types come from the first block, or after `settle` from all rows."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._options = options
        self._types = dict(options.column_types)
        self._settled = False
        self._names = self._header()
        check_names(self._names, source)
        check_typed(options.column_types, self._names, source)

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches. Iterating may raise `Contradicted`."""
        import pyarrow as pa

        types = self._types
        if self._options.as_text:
            types = {name: types.get(name, pa.string()) for name in self._names}
        with self._opened(types, self._nulls(), self._options.quoted_strings_can_be_null) as (schema, batches):
            for field in schema:
                if pa.types.is_binary(field.type):  # what Arrow infers for text that isn't UTF-8
                    raise not_utf8(self._source, self._options.encoding)
            yield schema, batches

    def settle(self) -> None:
        """Find types that fit every row: each block's are inferred on their own, and joined."""
        import pyarrow as pa
        import pyarrow.csv as pacsv

        convert = self._convert_options(self._options.column_types, self._nulls(), True)
        found: dict[str, Any] = {}
        with self._opened({name: pa.string() for name in self._names}, (), False) as (_, batches):
            for batch in batches:
                text = io.BytesIO()
                # Cells as they stand in the file, quoted or not: whether one was quoted is of no matter for its type.
                pacsv.write_csv(batch, text)
                text.seek(0)
                parse = pacsv.ParseOptions(newlines_in_values=True)
                for field in pacsv.read_csv(text, parse_options=parse, convert_options=convert).schema:
                    found[field.name] = join_types(found.get(field.name, pa.null()), field.type, text=True)
        self._types = found | self._options.column_types
        self._settled = True

    # --- inside -------------------------------------------------------------------------------------

    def _nulls(self) -> tuple[str, ...]:
        return NULLS if self._options.null_values is None else self._options.null_values

    @contextlib.contextmanager
    def _opened(
        self, types: dict[str, Any], nulls: tuple[str, ...], quoted: bool
    ) -> Iterator[tuple[Any, Iterator[Any]]]:
        import pyarrow as pa
        import pyarrow.csv as pacsv

        convert = self._convert_options(types, nulls, quoted)
        read = pacsv.ReadOptions(block_size=BLOCK, encoding=self._options.encoding)
        parse = pacsv.ParseOptions(delimiter=self._options.delimiter, newlines_in_values=True)
        with pa.input_stream(str(self._source.path), "gzip" if self._source.zipped else None) as file:
            try:
                reader = pacsv.open_csv(file, read_options=read, parse_options=parse, convert_options=convert)
            except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
                if "cannot infer number of columns" not in str(error):
                    self._explain(error)
                fields = [(name, types.get(name, pa.null())) for name in self._names]  # a header, and not even its end
                yield pa.schema(fields), iter(())
                return
            with reader:
                yield reader.schema, self._batches(reader)

    def _convert_options(self, types: dict[str, Any], nulls: tuple[str, ...], quoted: bool) -> Any:
        import pyarrow.csv as pacsv

        return pacsv.ConvertOptions(
            column_types=types,
            null_values=list(nulls),
            strings_can_be_null=bool(nulls),
            quoted_strings_can_be_null=quoted,
        )

    def _batches(self, reader: Any) -> Iterator[Any]:
        import pyarrow as pa

        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
                self._explain(error)
            yield batch

    def _explain(self, error: Exception) -> None:
        """Raise what an error of Arrow's means here."""
        text = str(error)
        if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in text:
            raise not_utf8(self._source, self._options.encoding) from error
        if found := re.search(
            r"In CSV column #(\d+).*?conversion error to (.+?): invalid value '(.*)'", text, re.DOTALL
        ):
            position, type_, value = int(found[1]), found[2], found[3]
            if not self._settled and self._names[position] not in self._options.column_types:
                raise Contradicted(self._names[position]) from error
            raise self._bad_value(position, type_, value) from error
        if found := re.search(r"Expected (\d+) columns, got (\d+)", text):
            raise self._bad_row(int(found[1]), int(found[2])) from error
        if isinstance(error, OSError):
            raise InputError(
                f"{self._source.name} can't be read: {text}. It is cut short or damaged: get the file again"
            ) from error
        damaged(self._source, text)

    def _bad_value(self, position: int, type_: str, value: str) -> InputError:
        name = self._names[position]
        line = next(
            (line for line, row in self._rows() if line > 1 and len(row) > position and row[position] == value), 0
        )
        where = f", line {line}" if line else ""
        return InputError(
            f"{self._source.name}{where}, column {name!r}: {value!r} is not {type_}. Correct it, "
            f"or read the column as text: column_types={{{name!r}: 'string'}}"
        )

    def _bad_row(self, expected: int, seen: int) -> InputError:
        line, count = next(((line, len(row)) for line, row in self._rows() if len(row) != expected), (0, seen))
        where = f", line {line}" if line else ""
        return InputError(
            f"{self._source.name}{where}: it has {count} fields where {expected} were expected, as the header has. "
            f"Correct the row, quote the field that holds the separator, or give the right one with delimiter="
        )

    def _header(self) -> list[str]:
        header = next((row for _, row in self._rows()), None)
        if header is None:
            raise InputError(f"{self._source.name} is empty: there is no header to name the columns. Write it again")
        return header

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield rows with the number of the line they start on, read slowly by Python; blank lines are left out."""
        encoding = "utf-8-sig" if _is_utf8(self._options.encoding) else self._options.encoding
        try:
            with (
                unzipping(self._source),
                io.TextIOWrapper(self._source.open(), encoding=encoding, newline="") as file,
            ):
                rows = csv.reader(file, delimiter=self._options.delimiter)
                line = 1
                for row in rows:
                    if row:
                        yield line, row
                    line = rows.line_num + 1
        except UnicodeDecodeError as error:
            raise not_utf8(self._source, self._options.encoding) from error
        except csv.Error:  # a field beyond the module's limit: the place isn't found
            return


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def check_delimiter(delimiter: str, what: str) -> str:
    """Return a delimiter; raise `InvalidArguments` if it can't be one."""
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InvalidArguments(
            f"{what}: takes one ASCII character other than a quote or a line's end, got {delimiter!r}"
        )
    return delimiter


def check_encoding(encoding: str) -> str:
    """Return an encoding's name; raise `InvalidArguments` if Python knows none of that name."""
    try:
        return "utf8" if codecs.lookup(encoding).name == "utf-8" else encoding
    except LookupError:
        raise InvalidArguments(f"encoding: {encoding!r} is not known; such are 'utf8', 'latin-1', 'cp1252'") from None


@contextlib.contextmanager
def csv_writer(path: Path, schema: Any, compression: str, delimiter: str) -> Iterator[Write]:
    """Write a CSV file: UTF-8, a header, lines that end in a line feed.

    What needs quotes has them: separators, quotes and ends of lines; and text that would be taken for a missing value,
    which is written as nothing at all.
    """
    import pyarrow as pa

    for field in schema:
        type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
            raise InvalidArguments(f"to: the column {field.name!r} holds {type_}, which CSV can't. Convert to parquet")
    with pa.output_stream(str(path), compression=None if compression == "none" else compression) as file:
        names = pa.array([str(name) for name in schema.names])
        header = delimiter.join(_quoted(names, delimiter).to_pylist()) if len(names) else ""
        file.write(f"{header}\n".encode())
        yield lambda batch: file.write(_lines(batch, delimiter))


def _lines(batch: Any, delimiter: str) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not batch.num_rows:
        return b""
    cells = [_quoted(as_text(column), delimiter, _is_text(column.type)) for column in batch.columns]
    missing = "NA" if len(cells) == 1 else ""  # a single empty cell would be a blank line, which readers skip
    lines = pc.binary_join_element_wise(*cells, delimiter, null_handling="replace", null_replacement=missing)
    whole = pc.binary_join(pa.scalar(lines.to_pylist(), pa.list_(pa.string())), "\n")
    return bytes(f"{whole.as_py()}\n", "utf-8")


def _is_text(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_dictionary(type_))


def _quoted(text: Any, delimiter: str, may_look_null: bool = True) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not may_look_null and delimiter not in "-+.:eTZ 0123456789":
        return text
    text = text.cast(pa.string())
    needs = pc.match_substring_regex(text, f'[{re.escape(delimiter)}"\r\n]|^ | $')
    if may_look_null:
        needs = pc.or_(needs, pc.is_in(text, pa.array(NULLS)))
    if not pc.any(needs).as_py():
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(needs, quoted, text)
