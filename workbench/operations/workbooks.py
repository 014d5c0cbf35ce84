"""Excel workbooks: a sheet is read as a table, and a table written as a sheet, row by row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.operations.columnar import BATCH_ROWS
from workbench.operations.sinks import opened_sink
from workbench.operations.tabular import NULLS, Options, Source, Typed, Write, check_known, check_names, damaged
from workbench.values.archives import check_workbook

ROWS = 1_048_576
COLUMNS = 16_384
LONGEST_TEXT = 32_767
"""What a sheet holds at most, as Excel's specification says; the first row is the header."""

_MOST_INTEGER = 2**53  # numbers are floats
_FORMATS = {"date": "yyyy-mm-dd", "datetime": "yyyy-mm-dd hh:mm:ss.000", "time": "hh:mm:ss.000", "span": "[h]:mm:ss"}


class WorkbookReader(Typed):
    """Reads a sheet. It is in memory as a whole: the format can't be read in parts."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._sheet = options.sheet
        self._types = options.column_types
        self._nulls = frozenset(NULLS if options.null_values is None else options.null_values)

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches."""
        import pyarrow as pa

        sheet = self._opened()
        rows = sheet.iter_rows()
        names = self._names(next(rows, []))
        check_known(self._types, names, self._source, "column_types")
        kinds: list[set[type]] = [set() for _ in names]
        whole = [True] * len(names)
        for row in rows:
            for position, value in enumerate(row):
                if value == "" or value in self._nulls:
                    continue
                kinds[position].add(type(value))
                if type(value) is float and not (value.is_integer() and abs(value) <= _MOST_INTEGER):
                    whole[position] = False
        types = [
            self._types.get(name) or _type_of(kind, each) for name, kind, each in zip(names, kinds, whole, strict=True)
        ]
        mixed = [name for name, kind, type_ in zip(names, kinds, types, strict=True) if type_ == "mixed"]
        if mixed:
            context.note(f"types of {self._source.name}", f"text, as their cells are of several kinds: {mixed[:20]}")
        schema = pa.schema(
            [(name, pa.string() if type_ == "mixed" else type_) for name, type_ in zip(names, types, strict=True)]
        )
        yield schema, self._batches(sheet, schema)

    # --- inside -------------------------------------------------------------------------------------

    def _opened(self) -> Any:
        import python_calamine

        check_workbook(self._source.path, self._source.name)
        try:
            book = python_calamine.CalamineWorkbook.from_path(str(self._source.path))
            names = book.sheet_names
        except (python_calamine.CalamineError, OSError, ValueError) as error:
            damaged(self._source, error)
        if not names:
            raise InputError(f"{self._source.name} holds no sheet. Save it again in Excel")
        if self._sheet is not None and self._sheet not in names:
            raise InvalidArguments(
                f"sheet: {self._source.name} has no sheet {self._sheet!r}. Its sheets: {', '.join(names[:20])}"
            )
        name = names[0] if self._sheet is None else self._sheet
        if len(names) > 1 and self._sheet is None:
            context.note(f"sheet of {self._source.name}", f"{name!r}, the first of {len(names)}: name another: sheet=")
        try:
            return book.get_sheet_by_name(name)
        except (python_calamine.CalamineError, ValueError) as error:
            damaged(self._source, f"sheet {name!r}: {error}")

    def _names(self, header: list[Any]) -> list[str]:
        if not any(value != "" for value in header):
            raise InputError(f"{self._source.name} is empty: its first row has to name the columns")
        # pandas's names: a column without one is the index, most likely, as `DataFrame.to_excel` writes it.
        names = [f"Unnamed: {number}" if value == "" else _text(value) for number, value in enumerate(header)]
        check_names(names, self._source)
        return names

    def _batches(self, sheet: Any, schema: Any) -> Iterator[Any]:
        import pyarrow as pa

        rows = islice(sheet.iter_rows(), 1, None)
        first = 2
        while block := list(islice(rows, BATCH_ROWS)):
            columns = [
                self._column(list(values), field, first)
                for values, field in zip(zip(*block, strict=True), schema, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            first += len(block)

    def _column(self, cells: list[Any], field: Any, first: int) -> Any:
        import pyarrow as pa

        cells = [None if value == "" or value in self._nulls else value for value in cells]
        if pa.types.is_string(field.type):
            return pa.array([None if value is None else _text(value) for value in cells], field.type)
        if pa.types.is_timestamp(field.type):  # calamine gives a midnight as a date
            cells = [
                datetime.combine(value, time())
                if isinstance(value, date) and not isinstance(value, datetime)
                else value
                for value in cells
            ]
        try:
            return pa.array(cells, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{self._source.name}, rows from {first}, column {field.name!r}: {error}. Correct the cells, or read "
                f"the column as text: column_types={{{field.name!r}: 'string'}}"
            ) from error


def _type_of(kinds: set[type], whole: bool) -> Any:
    """Return the type of a column by the kinds of its cells; "mixed" where only text holds them all."""
    import pyarrow as pa

    if not kinds:
        return pa.null()
    if kinds <= {int, float}:
        return pa.int64() if whole else pa.float64()
    if kinds == {date, datetime}:
        return pa.timestamp("ms")
    if len(kinds) > 1:
        return "mixed"
    one: dict[type, Any] = {
        bool: pa.bool_(),
        str: pa.string(),
        date: pa.date32(),
        datetime: pa.timestamp("ms"),
        time: pa.time32("ms"),
        timedelta: pa.duration("ms"),
    }
    return one[next(iter(kinds))]


def _text(value: Any) -> str:
    """Return a cell as Excel shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@contextlib.contextmanager
def workbook_writer(path: Path, schema: Any, sheet: str) -> Iterator[Write]:
    """Write a workbook of one sheet, row by row: its memory doesn't grow with the rows.

    Nothing is a formula or a link. Times with a zone become UTC. What Excel's numbers and dates can't hold (whole
    numbers beyond 2^53, dates before 1900) becomes text. All of it is noted.
    """
    import pyarrow as pa
    import xlsxwriter
    from xlsxwriter.exceptions import XlsxWriterException

    for field in schema:
        type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
            raise InvalidArguments(
                f"to: the column {field.name!r} holds {type_}, which Excel can't. Convert to parquet"
            )
    if len(schema) > COLUMNS:
        raise InvalidArguments(
            f"to: a sheet holds {COLUMNS:,} columns, and the table has {len(schema):,}: take columns="
        )
    if zoned := [field.name for field in schema if pa.types.is_timestamp(field.type) and field.type.tz]:
        context.note("time zones", f"Excel has none: the times of {', '.join(zoned)} are in UTC")
    # Rows wait in a file of its own until the end; in the attempt's directory nobody has to remove it.
    options = {"constant_memory": True, "tmpdir": str(context.scratch_file("sheet").parent)}
    with opened_sink(path) as sink:
        book = xlsxwriter.Workbook(sink, options)
        book.use_zip64()
        try:
            page = book.add_worksheet(sheet)
        except XlsxWriterException as error:
            raise InvalidArguments(f"sheet: {error}") from error
        writing = _Sheet(page, {kind: book.add_format({"num_format": text}) for kind, text in _FORMATS.items()})
        try:
            writing.header([str(name) for name in schema.names])
            yield writing.write
        except BaseException:
            book.fileclosed = 1  # it is not to be written
            page._opt_close()
            raise
        book.close()
    for key, value in writing.notes().items():
        context.note(key, value)


class _Sheet:
    """Writes batches below each other."""

    def __init__(self, page: Any, formats: Mapping[str, Any]) -> None:
        self._page = page
        self._formats = formats
        self._row = 0
        self._as_text: set[str] = set()

    def header(self, names: list[str]) -> None:
        for position, name in enumerate(names):
            self._page.write_string(0, position, name)
        self._row = 1

    def write(self, batch: Any) -> None:
        if self._row + batch.num_rows > ROWS:
            raise InvalidArguments(
                f"to: a sheet holds {ROWS:,} rows, its header is one, and the table has more: split it first "
                "(convert.split with rows=1_000_000 and to='xlsx'), or take csv or parquet"
            )
        columns = [_cells(column) for column in batch.columns]
        names = batch.schema.names
        for row in zip(*columns, strict=True):
            for position, value in enumerate(row):
                if value is not None:
                    self._put(position, value, names[position])
            self._row += 1

    def notes(self) -> dict[str, str]:
        if not self._as_text:
            return {}
        return {"as text": f"values that Excel can't hold as numbers or dates, of: {', '.join(sorted(self._as_text))}"}

    def _put(self, position: int, value: Any, name: str) -> None:
        page, row = self._page, self._row
        kind = type(value)
        if kind is str:
            self._text(position, value, name)
        elif kind is bool:
            page.write_boolean(row, position, value)
        elif (kind is float and value - value == 0) or (kind is int and abs(value) <= _MOST_INTEGER):
            page.write_number(row, position, value)
        elif kind is Decimal and Decimal(repr(float(value))) == value:
            page.write_number(row, position, float(value))
        elif kind is timedelta and value >= timedelta():
            page.write_datetime(row, position, value, self._formats["span"])
        elif kind is time:
            page.write_datetime(row, position, value, self._formats["time"])
        elif kind in (date, datetime) and value.year >= 1900:
            page.write_datetime(row, position, value, self._formats[kind.__name__])
        elif value != value:  # NaN: nothing, as in CSV
            return
        else:
            self._as_text.add(name)
            self._text(position, str(value), name)

    def _text(self, position: int, value: str, name: str) -> None:
        if len(value) > LONGEST_TEXT:
            raise InvalidArguments(
                f"to: row {self._row:,} of column {name!r} holds text of {len(value):,} characters, and a cell "
                f"of Excel {LONGEST_TEXT:,}: take csv or parquet, or leave the column out with columns="
            )
        self._page.write_string(self._row, position, value)


def _cells(column: Any) -> list[Any]:
    """Return a column as Python's values, times to the microsecond and without a zone."""
    import pyarrow as pa

    type_ = column.type
    if pa.types.is_dictionary(type_):
        return _cells(column.dictionary_decode())
    if pa.types.is_timestamp(type_):  # with a zone it is counted in UTC already
        column = column.cast(pa.timestamp("us", type_.tz), safe=False).cast(pa.int64()).cast(pa.timestamp("us"))
    elif pa.types.is_duration(type_):
        column = column.cast(pa.duration("us"), safe=False)
    elif pa.types.is_time(type_):
        column = column.cast(pa.time64("us"), safe=False)
    return list(column.to_pylist())
